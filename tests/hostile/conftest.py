"""A process for hostile inputs that all tests here share, and how hard hypothesis tries."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.hostile.replay import ROOT, Replay

# The same few examples each time; HOSTILE_PROFILE=thorough takes many, new ones each time.
_UNTIMED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", max_examples=60, derandomize=True, database=None, **_UNTIMED)
settings.register_profile("thorough", max_examples=5000, **_UNTIMED)
settings.load_profile(os.environ.get("HOSTILE_PROFILE", "quick"))


@pytest.fixture(scope="session")
def replay() -> Iterator[Replay]:
    """One process for all inputs; its imports take seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(ROOT)}
    process = Replay(environment)
    yield process
    process.close()
