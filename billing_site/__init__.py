"""Composition root: wires the apps together and decides nothing."""

from billing_site.celery import app as celery_app

__all__ = ["celery_app"]
