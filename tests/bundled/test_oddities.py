"""Each oddity of CoreNet's by name, and what the switch that turns it off computes instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from byteformer_convert.bundled.modeling_byteformer import ByteFormerLayerNorm
from byteformer_convert.reference.byteformer import CoreNetLayerNorm
from tests.worlds import corenet_twin, make_config, make_ids, make_model

# Kernel 4 and stride 2: n tokens are 2n + 2 bytes. Hidden size 8: the norm's rule is met by 8 tokens.
LENGTHS = [
    4,  # one token
    5,  # one token, and a byte that belongs to none
    10,  # 4 tokens: one whole window
    18,  # 8 tokens: they meet the rule where there is no merge
    19,
    30,  # 14 tokens: 7 after the merge, 2 too few for whole windows before it
    34,  # 16 tokens: 8 after the merge, which meet the rule there and in the last norm
    36,  # 17 tokens: 9 after the merge
    66,  # 32 tokens: 8 after two merges
    130,
]
WORLDS: list[dict[str, Any]] = [
    {},
    {"downsample": [False, False]},
    {"downsample": [True, True], "window_shifts": [2, 1]},
    {"window_sizes": [8, 8], "window_shifts": [0, 4]},  # as many tokens in a window as channels
    {"window_sizes": [3, 5], "window_shifts": [1, 64]},  # a shift beyond window and sequence
    {"position_embedding_type": "sinusoidal", "layer_norm_fp32": True, "window_shifts": [3, 3]},
]
OTHER_SWITCHES = [{}, {"mask_shifted_windows": True}, {"last_axis_layer_norm": True}]


# --- padding ---


def test_padding_is_not_masked() -> None:
    model, ids = make_model(), make_ids(30)
    assert not torch.allclose(model(ids).logits, model(make_ids(30, to=38)).logits, atol=1e-3)


def test_the_mean_is_over_all_tokens_padding_included() -> None:
    output = make_model().byteformer(make_ids(30, 17))
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state.sum(dim=1) / 7)


@pytest.mark.parametrize("other", OTHER_SWITCHES)
@pytest.mark.parametrize("world", WORLDS)
def test_mask_padding_makes_a_files_logits_independent_of_its_batch(
    world: dict[str, Any], other: dict[str, Any]
) -> None:
    model = make_model(mask_padding=True, **world, **other)
    batch = make_ids(*LENGTHS)
    with torch.no_grad():
        alone = torch.cat([model(ids[None, :length]).logits for ids, length in zip(batch, LENGTHS, strict=True)])
        for padded in (batch, F.pad(batch, (0, 1), value=-1), batch.masked_fill(batch == -1, 256)):
            torch.testing.assert_close(model(padded).logits, alone, rtol=0, atol=2e-5)
        by_mask = model(batch.clamp(min=0), attention_mask=(batch != -1).long()).logits
    torch.testing.assert_close(by_mask, alone, rtol=0, atol=2e-5)


def test_mask_padding_gives_features_that_are_those_of_the_file_alone() -> None:
    model, ids = make_model(mask_padding=True), make_ids(30, 17)
    together, alone = model.byteformer(ids), model.byteformer(ids[1:, :17])
    torch.testing.assert_close(together.last_hidden_state[1, :4], alone.last_hidden_state[0])
    torch.testing.assert_close(together.pooler_output[1:], alone.last_hidden_state.mean(dim=1))


def test_mask_padding_changes_nothing_where_windows_are_full_and_nothing_is_padded() -> None:
    ids = make_ids(34, 34)  # 16 tokens, 8 after the merge: whole windows of 4 in both layers
    torch.testing.assert_close(make_model(mask_padding=True)(ids).logits, make_model()(ids).logits)


def test_under_mask_padding_a_row_of_padding_alone_is_finite_and_trains() -> None:
    model = make_model(mask_padding=True, mask_shifted_windows=True).train()
    loss = model(make_ids(34, 0), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# --- shifted windows ---


def test_shifted_windows_are_not_masked() -> None:
    model, ids = make_model(window_shifts=[2, 0]), make_ids(18)
    last_window = model(ids, output_attentions=True).attentions[0][-1]
    assert last_window.amin() > 0  # tokens 6, 7, 0 and 1 all see each other


@pytest.mark.parametrize("tokens", [8, 7, 1])
@pytest.mark.parametrize(("window", "shift"), [(4, 2), (4, 1), (4, 3), (8, 4), (4, 64), (3, 64), (4, -2), (5, 7)])
def test_mask_shifted_windows_parts_the_end_from_the_beginning(window: int, shift: int, tokens: int) -> None:
    world = {"num_hidden_layers": 1, "window_sizes": window, "window_shifts": [shift], "downsample": [False]}
    ids = make_ids(2 * tokens + 2)
    plain = make_model(**world)(ids, output_attentions=True).attentions[0]
    masked = make_model(**world, mask_shifted_windows=True)(ids, output_attentions=True).attentions[0]
    allowed = same_side(tokens + -tokens % window, window, max(shift, 0))[:, None]  # for each head
    expected = plain * allowed
    torch.testing.assert_close(masked, expected / expected.sum(-1, keepdim=True))


def same_side(padded: int, window: int, shift: int) -> torch.Tensor:
    """(windows, window, window): whether two places of a rolled sequence both wrapped around, or neither did."""
    came_from = torch.roll(torch.arange(padded), -shift)
    wrapped = (came_from < shift % padded).reshape(-1, window)
    return wrapped[:, :, None] == wrapped[:, None, :]


def test_mask_shifted_windows_keeps_the_end_from_the_beginning() -> None:
    ids = make_ids(18)
    changed = ids.clone()
    changed[0, 0] += 1  # the first token, which shares a window with tokens 6, 7 and 1
    world = {"num_hidden_layers": 1, "window_shifts": [2], "downsample": [False]}

    def moved(**switches: Any) -> list[bool]:
        model = make_model(**world, **switches)
        before, after = (model(each, output_hidden_states=True).hidden_states[1][0] for each in (ids, changed))
        return ((before - after).abs().amax(dim=1) > 0).tolist()

    assert moved() == [True, True, False, False, False, False, True, True]
    assert moved(mask_shifted_windows=True) == [True, True, False, False, False, False, False, False]


def test_without_a_shift_mask_shifted_windows_changes_nothing() -> None:
    world, ids = {"window_shifts": [0, -2]}, make_ids(30, 17)
    assert torch.equal(make_model(**world, mask_shifted_windows=True)(ids).logits, make_model(**world)(ids).logits)


# --- zero tokens ---


def test_the_zeros_that_fill_a_window_are_attended_to() -> None:
    world = {"num_hidden_layers": 1, "window_shifts": [0], "downsample": [False]}
    probabilities = make_model(**world)(make_ids(8), output_attentions=True).attentions[0]  # 3 tokens
    assert probabilities[0, :, :3, 3].amin() > 0


def test_an_odd_token_merges_with_zeros() -> None:
    model = make_model(num_hidden_layers=1, window_shifts=[0], downsample=[True])
    merging = model.byteformer.layers[0].token_merging
    hidden = torch.randn(2, 5, 8)
    merged = merging.norm(F.linear(hidden[:, 4:], merging.reduction.weight[:, :8]))
    torch.testing.assert_close(merging(hidden)[:, 2:], merged)


# --- the norm's axis ---


@pytest.mark.parametrize("fp32", [False, True])
def test_the_norm_runs_over_axis_1_where_it_is_as_long_as_hidden_size(fp32: bool) -> None:
    norm, hidden = make_norm(fp32=fp32), torch.randn(2, 8, 8)
    std, mean = hidden.std(1, correction=0, keepdim=True), hidden.mean(1, keepdim=True)
    expected = (hidden - mean) / (std + 1e-5) * norm.weight[:, None] + norm.bias[:, None]
    torch.testing.assert_close(norm(hidden), expected)
    assert (norm(hidden) - F.layer_norm(hidden, [8], norm.weight, norm.bias)).abs().max() > 0.1


def test_over_axis_1_epsilon_is_added_to_the_deviation() -> None:
    norm, hidden = make_norm(), torch.randn(2, 8, 8) * 1e-4
    std, mean = hidden.std(1, correction=0, keepdim=True), hidden.mean(1, keepdim=True)
    expected = (hidden - mean) / (std + 1e-5) * norm.weight[:, None] + norm.bias[:, None]
    torch.testing.assert_close(norm(hidden), expected)


@pytest.mark.parametrize(("tokens", "switches"), [(7, {}), (9, {}), (8, {"last_axis_layer_norm": True})])
def test_the_norm_runs_over_channels_elsewhere_and_everywhere_by_switch(tokens: int, switches: dict[str, Any]) -> None:
    norm, hidden = make_norm(**switches), torch.randn(2, tokens, 8)
    torch.testing.assert_close(norm(hidden), F.layer_norm(hidden, [8], norm.weight, norm.bias))


def test_rows_that_are_treated_as_if_alone_meet_the_rule_each_by_itself() -> None:
    norm, hidden = make_norm(), torch.randn(3, 10, 8)
    normed = norm(hidden, torch.tensor([8, 10, 3]))
    torch.testing.assert_close(normed[:1, :8], norm(hidden[:1, :8]))
    torch.testing.assert_close(normed[1:], F.layer_norm(hidden[1:], [8], norm.weight, norm.bias))


def make_norm(fp32: bool = False, **switches: Any) -> ByteFormerLayerNorm:
    norm = ByteFormerLayerNorm(make_config(**switches), fp32=fp32)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    return norm


NO_MERGE = {"downsample": [False, False]}
WHERE_THE_RULE_IS_MET = {
    "inside a layer": ({"window_sizes": 8, **NO_MERGE}, 12),  # 5 tokens in a window of 8
    "in a merge": ({"downsample": [True, True]}, 34),  # 16 tokens, 8 leave the first merge, 4 the second
    "in the last norm": (NO_MERGE, 18),  # 8 tokens
}


@pytest.mark.parametrize("place", WHERE_THE_RULE_IS_MET)
def test_the_rule_is_met(place: str) -> None:
    world, length = WHERE_THE_RULE_IS_MET[place]
    model, ids = make_model(**world), make_ids(length)
    torch.testing.assert_close(model(ids).logits, corenet_twin(model)(ids), rtol=0, atol=1e-4)
    switched = make_model(**world, last_axis_layer_norm=True)(ids).logits
    assert (switched - model(ids).logits).abs().max() > 1e-3


@pytest.mark.parametrize("place", WHERE_THE_RULE_IS_MET)
def test_last_axis_layer_norm_computes_what_torchs_norm_does(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, length = WHERE_THE_RULE_IS_MET[place]
    model, ids = make_model(**world, last_axis_layer_norm=True), make_ids(length, length - 3)
    monkeypatch.setattr(CoreNetLayerNorm, "forward", torch.nn.LayerNorm.forward)
    torch.testing.assert_close(model(ids).logits, corenet_twin(model)(ids))


def test_merges_keep_the_plain_norm_whatever_layer_norm_fp32_says() -> None:
    model = make_model(layer_norm_fp32=True)
    fp32 = {name: norm.fp32 for name, norm in model.named_modules() if isinstance(norm, ByteFormerLayerNorm)}
    assert [name for name, value in fp32.items() if not value] == ["byteformer.layers.0.token_merging.norm"]
    assert len(fp32) == 6


def test_by_default_no_switch_is_on() -> None:
    config = make_config()
    assert (config.mask_padding, config.mask_shifted_windows, config.last_axis_layer_norm) == (False, False, False)
