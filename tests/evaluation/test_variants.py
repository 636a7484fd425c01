"""The arithmetics that are compared, and which files meet the axis-1 LayerNorm, against the model itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from byteformer_convert.bundled import inference_byteformer, modeling_byteformer
from byteformer_convert.errors import UsageError
from byteformer_convert.evaluation.axis_one_norm import meets_axis_one_norm
from byteformer_convert.evaluation.variants import Variant, parse_variants, variant_models
from tests.worlds import make_ids, make_model


def test_the_folders_own_arithmetic_comes_first() -> None:
    assert parse_variants(None) == (Variant("faithful"),)
    assert parse_variants("mask_padding, last_axis_layer_norm+mask_padding,mask_padding") == (
        Variant("faithful"),
        Variant("mask_padding", ("mask_padding",)),
        Variant("last_axis_layer_norm+mask_padding", ("last_axis_layer_norm", "mask_padding")),
    )


def test_an_unknown_switch_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="mask_paddings"):
        parse_variants("mask_paddings")


@pytest.mark.parametrize("switch", ["mask_padding", "mask_shifted_windows", "last_axis_layer_norm"])
def test_a_variant_computes_what_a_model_with_that_switch_does(switch: str) -> None:
    model = make_model()
    ids = make_ids(18, 30, to=34)  # 16 tokens: 8, as many as channels, after the merge
    faithful, switched = variant_models(model, parse_variants(switch))
    with torch.no_grad():
        want = make_model(**{switch: True})(ids).logits
        assert torch.equal(switched(ids).logits, want)
        assert torch.equal(faithful(ids).logits, make_model()(ids).logits)
        assert not torch.allclose(faithful(ids).logits, want)


def test_variants_share_their_weights() -> None:
    first, second = variant_models(make_model(), parse_variants("mask_padding"))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(ours.data_ptr() == theirs.data_ptr() for ours, theirs in pairs)


def norms_over_tokens(model: Any, length: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the model itself normalises an input of this length over its tokens."""
    called = []
    original = inference_byteformer.layer_norm_over_tokens
    for module in (modeling_byteformer, inference_byteformer):
        monkeypatch.setattr(module, "layer_norm_over_tokens", lambda *a: called.append(1) or original(*a))
    with torch.no_grad():
        model(make_ids(length))
    monkeypatch.undo()
    return bool(called)


@pytest.mark.parametrize(
    "changes",
    [{}, {"downsample": [False, False]}, {"window_sizes": [8, 4]}, {"last_axis_layer_norm": True}],
    ids=["a merge", "no merge", "windows as wide as the channels", "switched off"],
)
def test_the_files_that_meet_the_norm_are_those_for_which_the_model_takes_it(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(**changes)
    lengths = range(4, 60)
    found = [meets_axis_one_norm(model.config, length) for length in lengths]
    assert found == [norms_over_tokens(model, length, monkeypatch) for length in lengths]
    assert any(found) is not changes.get("last_axis_layer_norm", False)
