"""The inputs of a parity check: each does what its name says, within the model's positions and the cost limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from byteformer_convert.parity.cases import (
    COST_LIMIT,
    Case,
    cost_per_token,
    plan_cases,
    sample_file,
    tokens_for_axis_1_norm,
    tokens_for_several_windows,
)
from tests.worlds import make_options

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

HUGE = {"mode": "huge", "window_shifts": [0, 64] * 16, "downsample": [index < 12 for index in range(32)]}


def cases_by_name(options: CoreNetOptions) -> dict[str, Case]:
    return {case.name: case for case in plan_cases(options).cases}


def token_count(length: int, options: CoreNetOptions) -> int:
    return (length - options.conv_kernel_size) // options.stride + 1


def k4(**changes: object) -> CoreNetOptions:
    """The shape of the k = 4 ImageNet checkpoint."""
    return make_options(**{"conv_kernel_size": 4, "max_num_tokens": 50000} | changes)


def test_a_published_shape_leaves_nothing_out() -> None:
    plan = plan_cases(k4())
    assert [case.name for case in plan.cases] == [
        "typical",
        "odd",
        "several windows",
        "padded batch",
        "axis-1 norm",
        "real file",
    ]
    assert plan.left_out == ()


def test_the_plan_is_the_same_every_time() -> None:
    first, second = plan_cases(k4()), plan_cases(k4())
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(first.cases, second.cases, strict=True))


def test_the_odd_input_is_odd_at_several_merges_and_has_a_byte_too_many() -> None:
    options = k4()
    length = cases_by_name(options)["odd"].lengths[0]
    tokens = token_count(length, options)
    assert (length - options.conv_kernel_size) % options.stride == 1
    assert [tokens % 2, -(-tokens // 2) % 2] == [1, 0]
    halves = [tokens := -(-tokens // 2) for _ in range(6)]
    assert sum(half % 2 for half in halves) >= 2


def test_several_windows_are_several_in_every_layer() -> None:
    options = k4()
    tokens = token_count(cases_by_name(options)["several windows"].lengths[0], options)
    for window, merges in zip(options.window_sizes, options.downsample, strict=True):
        assert tokens > window
        tokens = -(-tokens // 2) if merges else tokens


def test_the_padded_batch_is_padded_with_minus_1_and_ends_with_a_single_token() -> None:
    options = k4()
    case = cases_by_name(options)["padded batch"]
    assert case.lengths == (602, 242, 4)
    assert case.ids.shape == (3, 602)
    assert (case.ids[2, 4:] == -1).all()
    assert (case.ids[0] >= 0).all()


@pytest.mark.parametrize("downsample", [[False] * 12, [True] + [False] * 11, [False] * 11 + [True]])
def test_exactly_embed_dim_tokens_reach_a_norm(downsample: list[bool]) -> None:
    options = k4(downsample=downsample)
    tokens = token_count(cases_by_name(options)["axis-1 norm"].lengths[0], options)
    counts = [tokens]
    for merges in options.downsample:
        counts += [counts[-1] // 2] if merges else []
    assert options.embed_dim in counts[1:] or (counts == [options.embed_dim])


def test_the_real_file_is_the_samples_bytes() -> None:
    case = cases_by_name(k4())["real file"]
    assert bytes(case.rows[0].tolist()) == sample_file("sample.jpg")
    sound = cases_by_name(k4(category="audio_classification"))["real file"]
    assert bytes(sound.rows[0].tolist()) == sample_file("sample.wav")
    assert sample_file("sample.wav").startswith(b"RIFF")


@pytest.mark.parametrize("positions", [1, 2, 8, 300])
@pytest.mark.parametrize("kernel", [2, 3, 4, 32])
def test_no_input_has_more_tokens_than_positions_or_fewer_bytes_than_the_kernel(positions: int, kernel: int) -> None:
    options = make_options(max_num_tokens=positions, conv_kernel_size=kernel)
    plan = plan_cases(options)
    for case in plan.cases:
        assert max(case.lengths) >= kernel
        assert token_count(max(case.lengths), options) <= positions
    assert any("several windows after every merge" in sentence for sentence in plan.left_out)
    assert any("axis-1 norm" in sentence for sentence in plan.left_out)


@pytest.mark.parametrize(("vocabulary", "real"), [(20, False), (256, False), (257, True), (300, True)])
def test_ids_stay_below_the_padding_row(vocabulary: int, real: bool) -> None:
    plan = plan_cases(k4(vocab_size=vocabulary))
    assert all(case.ids.max() < vocabulary - 1 for case in plan.cases if case.name != "real file")
    assert ("real file" in {case.name for case in plan.cases}) == real
    assert any(f"the vocabulary has {vocabulary}" in sentence for sentence in plan.left_out) != real


@pytest.mark.parametrize("mode", ["tiny", "small", "base", "huge"])
def test_no_input_costs_more_than_the_limit(mode: str) -> None:
    options = k4(**(HUGE if mode == "huge" else {"mode": mode}))
    plan = plan_cases(options)
    for case in plan.cases:
        assert token_count(max(case.lengths), options) * cost_per_token(options) <= COST_LIMIT
    left_out = any("several windows" in sentence for sentence in plan.left_out)
    assert left_out == (tokens_for_several_windows(options) * cost_per_token(options) > COST_LIMIT)


def test_huge_still_gets_every_kind_of_input() -> None:
    plan = plan_cases(k4(**HUGE))
    assert {"typical", "odd", "padded batch", "real file"} <= {case.name for case in plan.cases}
    assert tokens_for_axis_1_norm(k4(**HUGE)) == 2560
