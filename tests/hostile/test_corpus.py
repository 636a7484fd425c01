"""Every stored hostile input, through its target, within the bounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hostile.targets import TARGETS

if TYPE_CHECKING:
    from tests.hostile.replay import Replay

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


def test_every_folder_of_the_corpus_is_a_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_stored_input_does_no_harm(replay: Replay, file: Path) -> None:
    finding = replay.ask(file.parent.name, file)
    assert finding is None, f"{finding.problem}\n{finding.details}"
