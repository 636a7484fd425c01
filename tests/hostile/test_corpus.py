"""Every stored hostile input, through its target, within the bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.replay import ROOT, Replay
from tests.hostile.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    """One process for all inputs; its imports take seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(ROOT)}
    process = Replay(environment)
    yield process
    process.close()


def test_every_folder_of_the_corpus_is_a_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_stored_input_does_no_harm(replay: Replay, file: Path) -> None:
    finding = replay.ask(file.parent.name, file)
    assert finding is None, f"{finding.problem}\n{finding.details}"
