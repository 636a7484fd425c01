"""Attention probabilities: right by themselves, and the same attention that the fast path computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F

from tests.tolerances import tolerance_of
from tests.worlds import corenet_twin, golden_model, make_ids, make_model

if TYPE_CHECKING:
    from tests.golden_cases import GoldenCase

SWITCHES = [
    {},
    {"mask_padding": True},
    {"mask_shifted_windows": True},
    {"mask_padding": True, "mask_shifted_windows": True, "last_axis_layer_norm": True},
]


def test_with_probabilities_returned_the_logits_are_corenets_too(golden_case: GoldenCase) -> None:
    with torch.no_grad():
        output = golden_model(golden_case)(golden_case.ids(), output_attentions=True)
    torch.testing.assert_close(output.logits, golden_case.logits, rtol=0, atol=tolerance_of(golden_case.name).logits)
    assert [tuple(probabilities.shape) for probabilities in output.attentions] == attention_shapes(golden_case)
    for probabilities in output.attentions:
        assert probabilities.amin() >= 0
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))


def attention_shapes(case: GoldenCase) -> list[tuple[int, ...]]:
    """(windows, heads, window, window) of every layer, from CoreNet's own token counts."""
    tokens = {stage.name: stage.shape[1] for stage in case.stages}
    batch, heads = len(case.input_ids), case.architecture["num_heads"]
    shapes = []
    for layer, window in enumerate(case.architecture["window_sizes"]):
        shapes.append((batch * -(-tokens[f"transformer.{layer}"] // window), heads, window, window))
    return shapes


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("lengths", [(30, 17), (66, 66, 4), (34,)])
def test_both_ways_agree_whatever_is_masked(switches: dict[str, Any], lengths: tuple[int, ...]) -> None:
    model, ids = make_model(**switches), make_ids(*lengths)
    fast, slow = (model(ids, output_attentions=asked) for asked in (False, True))
    torch.testing.assert_close(fast.logits, slow.logits, rtol=0, atol=1e-5)
    for probabilities in slow.attentions:
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))


def test_probabilities_are_the_softmax_of_query_times_key() -> None:
    model, ids = make_model(), make_ids(30, 17)
    twin, first = corenet_twin(model), model(ids, output_attentions=True).attentions[0]
    norm, attention = twin.transformer[0].pre_norm_mha[:2]
    windows = F.pad(twin.embed(ids), (0, 0, 0, 2)).reshape(-1, 4, 8)  # 14 tokens and two zeros: four windows a file
    query, key, _ = attention.qkv_proj(norm(windows)).reshape(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
    torch.testing.assert_close(first, (query @ key.mT / 2).softmax(-1))  # (windows, heads, window, window)


def test_config_may_ask_for_probabilities() -> None:
    model = make_model(attn_implementation="eager", output_attentions=True)
    assert len(model(make_ids(30)).attentions) == 2
    assert model(make_ids(30), output_attentions=False).attentions is None
