"""Fixtures of the tests that push to the loopback Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.client import OTHER_TOKEN, READ_TOKEN, TOKEN, Machine
from tests.hub.folders import make_folder
from tests.hub.server import Hub, running_hub
from tests.hub.store import User


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub with nothing on it; ada may write, with one of her two tokens, and bob is somebody else."""
    with running_hub({TOKEN: User("ada"), READ_TOKEN: User("ada", "read"), OTHER_TOKEN: User("bob")}) as hub:
        yield hub
        assert hub.leaks == [], "a token went to the storage"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home of the Hub's client."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def machine(hub: Hub, home: Path) -> Machine:
    """ada's machine, over Git LFS: the shorter of the two ways."""
    return Machine(hub.url, home, xet=False)


@pytest.fixture(params=[True, False], ids=["xet", "lfs"])
def either(request: pytest.FixtureRequest, hub: Hub, home: Path) -> Machine:
    """ada's machine, over each transfer in turn."""
    return Machine(hub.url, home, xet=request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks converted."""
    return make_folder(tmp_path / "folder")
