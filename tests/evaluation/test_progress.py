"""What is said while an evaluation runs; time is a number here."""

from __future__ import annotations

import pytest

from byteformer_convert.evaluation.progress import Progress, duration


def test_it_says_rate_and_time_left_now_and_then() -> None:
    said: list[str] = []
    moments = iter([100.0, 101.0, 102.0, 103.0, 104.5])
    progress = Progress(1000, 200, said.append, lambda: next(moments))
    for _ in range(4):
        progress.advance(40)
    assert said == ["280 of 1,000 files, 40.0 files/s, 18 s left", "360 of 1,000 files, 35.6 files/s, 18 s left"]


def test_a_long_evaluation_is_not_told_every_second() -> None:
    said: list[str] = []
    moments = iter(range(36_001))
    progress = Progress(36_000, 0, said.append, lambda: next(moments))
    for _ in range(36_000):
        progress.advance(1)
    assert 1_000 < len(said) < 1_500


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (4021, "1 h 07 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
