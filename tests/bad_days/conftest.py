"""Fixtures of the tests that stop commands and take things away from them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bad_days.interruption import Forks, Scene, forks, make_scene


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs commands in forks, in a place of its own."""
    place = tmp_path_factory.mktemp("bad-days") / "place"
    place.mkdir()
    with forks(place) as found:
        yield found


@pytest.fixture(scope="module")
def scene(runner: Forks) -> Scene:
    """A conversion over an older folder."""
    return make_scene(runner)
