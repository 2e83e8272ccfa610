"""Hypothesis repeats the same examples in every run: a test that fails must fail for the next reader too."""

from hypothesis import settings

settings.register_profile("engine", derandomize=True, max_examples=60, deadline=None, database=None)
settings.load_profile("engine")
