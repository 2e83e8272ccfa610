"""A world of its own for each test that breaks things: committed, and new."""

import os

import pytest

from tests.faults import worlds
from tests.faults.tree import World


@pytest.fixture
def fault_world(committed_tenant) -> World:
    """Make customers, meter and key in the tenant whose commits are real."""
    return worlds.world_make(
        database_url=os.environ["DATABASE_URL"], schema_name=committed_tenant, host="gamma.localhost"
    )


@pytest.fixture
def dice(request):
    """Chance that repeats itself from run to run, another one for each test."""
    import random

    return random.Random(request.node.name)
