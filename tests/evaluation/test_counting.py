"""Counts and what is made of them: in any order, each batch once, with the right intervals."""

from __future__ import annotations

import json
import random
import statistics

import pytest

from byteformer_convert.evaluation.records import LOSS_UNIT, BatchRecord, FileRecord, FileScore, PrecisionSample
from byteformer_convert.evaluation.result import LISTED_BROKEN, Confusion, Share
from byteformer_convert.evaluation.tally import Tally
from byteformer_convert.evaluation.variants import parse_variants

LABELS = ("ant", "bee", "cat")


def record(batch: int, *files: tuple[int, int, float], meets: bool = False) -> BatchRecord:
    """Files as (row, predicted, loss), under two arithmetics: the second is always right."""
    records = tuple(
        FileRecord(
            10 * batch + at,
            row,
            meets,
            (FileScore(predicted, predicted != 2, round(loss / LOSS_UNIT)), FileScore(row, True, 0)),
        )
        for at, (row, predicted, loss) in enumerate(files)
    )
    return BatchRecord(batch, records, ((10 * batch + 9, "cut short"),), PrecisionSample(2, 1, 0.25))


BATCHES = [
    record(0, (0, 0, 0.1), (1, 2, 3.7)),
    record(1, (0, 1, 0.7), (2, 2, 1e-9), meets=True),
    record(2, (1, 1, 0.3)),
]


def tallied(batches: list[BatchRecord]) -> Tally:
    tally = Tally(parse_variants("mask_padding"))
    for batch in batches:
        tally.add(batch)
    return tally


def test_the_counts_are_right() -> None:
    faithful, masked = tallied(BATCHES).scores(LABELS)
    assert faithful.top1 == Share(3, 5)
    assert faithful.top5 == Share(3, 5)
    assert [one.top1 for one in faithful.classes] == [Share(1, 2), Share(1, 2), Share(1, 1)]
    assert faithful.confusion == (
        Confusion(0, 0, 1), Confusion(0, 1, 1), Confusion(1, 1, 1), Confusion(1, 2, 1), Confusion(2, 2, 1),
    )  # fmt: skip
    assert (faithful.meeting_norm, faithful.missing_norm) == (Share(1, 2), Share(2, 3))
    assert (masked.name, masked.top1, masked.meeting_norm) == ("mask_padding", Share(5, 5), Share(2, 2))


def test_the_loss_is_a_mean_with_its_interval() -> None:
    losses = [0.1, 3.7, 0.7, 1e-9, 0.3]
    loss = tallied(BATCHES).scores(LABELS)[0].loss
    assert loss.value == pytest.approx(statistics.mean(losses), abs=1e-10)
    assert loss.half_width == pytest.approx(1.959964 * statistics.stdev(losses) / 5**0.5, rel=1e-6)


def test_no_order_of_the_batches_changes_a_bit() -> None:
    source = random.Random(0)
    batches = [record(at, (0, 0, source.random() * 10**-at), (1, 0, source.random())) for at in range(12)]
    want = tallied(batches).scores(LABELS)
    for _ in range(5):
        source.shuffle(batches)
        assert tallied(batches).scores(LABELS) == want


def test_a_batch_counts_once() -> None:
    twice = tallied([*BATCHES, *BATCHES])
    assert twice.scores(LABELS) == tallied(BATCHES).scores(LABELS)
    assert twice.broken_count == 3
    assert twice.precision == PrecisionSample(6, 3, 0.25)
    assert twice.batches == {0, 1, 2}


def test_broken_files_are_listed_in_order_up_to_a_limit() -> None:
    many = [BatchRecord(at, (), ((at, "bad"),)) for at in range(LISTED_BROKEN + 5)]
    tally = tallied(many[::-1])
    assert tally.broken_count == LISTED_BROKEN + 5
    assert [index for index, _ in tally.broken()] == list(range(LISTED_BROKEN))


def test_a_record_survives_json() -> None:
    for batch in BATCHES:
        assert BatchRecord.from_dict(json.loads(json.dumps(batch.to_dict()))) == batch


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # The roots of (p - count / of)^2 = z^2 p (1 - p) / of, by hand
    [(380, 400, 0.9240360, 0.9674033), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (1, 2, 0.0945312, 0.9054688)],
)
def test_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    assert Share(count, of).interval == pytest.approx((low, high), abs=1e-6)


def test_a_share_of_nothing_has_no_value() -> None:
    assert Share(0, 0).to_dict() == {"count": 0, "of": 0, "value": None, "interval95": None}
