"""Which tensors CoreNet's ByteFormer has, and what is said of a checkpoint that has others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from byteformer_convert.corenet.state_dict import (
    OPTION,
    Mismatch,
    Shape,
    expected_shapes,
    find_mismatches,
    fold,
    layers_of,
)
from tests.worlds import golden_options, make_options

if TYPE_CHECKING:
    from tests.golden_cases import GoldenCase

INCOMPLETE = "not in the checkpoint: an incomplete file, or one of another model"


def compare(checkpoint: dict[str, Any], options: dict[str, Any]) -> dict[str, Mismatch]:
    """What is found when a checkpoint made with some options meets others, by folded name and problem."""
    return compare_shapes(expected_shapes(make_options(**checkpoint)), options)


def compare_shapes(shapes: dict[str, Shape], options: dict[str, Any]) -> dict[str, Mismatch]:
    found = find_mismatches(shapes, make_options(**options))
    by_name = {f"{mismatch.problem} {mismatch.name}": mismatch for mismatch in found}
    assert len(by_name) == len(found), "a family that is told twice"
    return by_name


def without(*gone: str) -> dict[str, Shape]:
    """A tiny checkpoint that lacks every tensor whose name begins so."""
    return {name: shape for name, shape in expected_shapes(make_options()).items() if not name.startswith(gone)}


def test_expected_shapes_are_corenets_in_corenets_order(golden_case: GoldenCase) -> None:
    assert list(expected_shapes(golden_options(golden_case)).items()) == list(golden_case.parameters.items())


def test_a_checkpoint_that_fits_has_no_mismatch(golden_case: GoldenCase) -> None:
    assert find_mismatches(golden_case.parameters, golden_options(golden_case)) == ()


@pytest.mark.parametrize(
    ("checkpoint", "name", "cause"),
    [
        pytest.param(
            {"n_classes": 12},
            "classifier.weight",
            "the checkpoint has 12 classes, model.classification.n_classes says 1000",
            id="classes",
        ),
        pytest.param(
            {"n_classes": 12},
            "classifier.bias",
            "the checkpoint has 12 classes, model.classification.n_classes says 1000",
            id="classes, bias",
        ),
        pytest.param(
            {"conv_kernel_size": 4},
            "token_reduction_net.weight",
            f"the checkpoint's kernel is 4, {OPTION}.conv_kernel_size says 16",
            id="kernel",
        ),
        pytest.param(
            {"max_num_tokens": 50000},
            "pos_embed.pos_embed.pos_embed",
            f"the checkpoint has 50000 positions, {OPTION}.max_num_tokens says 10000",
            id="positions",
        ),
        pytest.param(
            {"vocab_size": 300},
            "embeddings.weight",
            f"the checkpoint has 300 byte values, {OPTION}.vocab_size says 257",
            id="vocabulary",
        ),
    ],
)
def test_one_option_that_differs_is_named(checkpoint: dict[str, Any], name: str, cause: str) -> None:
    found = compare(checkpoint, {})
    assert found[f"shape {name}"].cause == cause
    assert {mismatch.cause for mismatch in found.values()} == {cause}


def test_another_mode_is_named_by_its_embed_dim_and_never_taken_for_other_classes() -> None:
    found = compare({"mode": "small"}, {})
    embed_dim = f"the checkpoint's embed dim is 384, {OPTION}.mode tiny has 192"
    assert next(iter(found.values())).cause == embed_dim, "the first one is what the error says"
    assert found["shape transformer.{i}.pre_norm_mha.1.qkv_proj.weight"].cause == embed_dim
    assert found["shape pos_embed.pos_embed.pos_embed"].cause == embed_dim
    assert {mismatch.cause for mismatch in found.values()} == {embed_dim, f"another {OPTION}.mode than tiny"}
    assert "shape classifier.bias" not in found


def test_a_family_is_folded_over_its_layers_and_keeps_both_shapes() -> None:
    found = compare({"mode": "small"}, {})["shape transformer.{i}.pre_norm_ffn.1.weight"]
    assert found.layers == tuple(range(12))
    assert (found.expected, found.found) == ((768, 192), (1536, 384))
    assert found.to_dict() == {
        "problem": "shape",
        "name": "transformer.{i}.pre_norm_ffn.1.weight",
        "layers": tuple(range(12)),
        "expected": (768, 192),
        "found": (1536, 384),
        "cause": f"another {OPTION}.mode than tiny",
    }


def test_layers_whose_shapes_differ_are_told_apart() -> None:
    name = "transformer.{i}.pre_norm_ffn.1.weight"
    shapes = without() | {name.format(i=2): (1, 192), name.format(i=5): (2, 192), name.format(i=7): (1, 192)}
    found = find_mismatches(shapes, make_options())
    assert [(mismatch.layers, mismatch.found) for mismatch in found] == [((2, 7), (1, 192)), ((5,), (2, 192))]


@pytest.mark.parametrize("kept", [1, 10, 11])
def test_fewer_layers(kept: int) -> None:
    gone = [f"transformer.{layer}." for layer in range(kept, 12)]
    found = compare_shapes(without(*gone), {})
    assert len(found) == 12, "one family for each kind of tensor in a layer"
    assert {mismatch.problem for mismatch in found.values()} == {"missing"}
    assert {mismatch.cause for mismatch in found.values()} == {
        f"the checkpoint has {kept} layers, {OPTION}.mode tiny has 12"
    }


def test_more_layers() -> None:
    shapes = {name.replace("transformer.1.", "transformer.12."): shape for name, shape in without().items()}
    found = find_mismatches(without() | shapes, make_options())
    assert {(mismatch.problem, mismatch.layers) for mismatch in found} == {("unknown", (12,))}
    assert {mismatch.cause for mismatch in found} == {
        f"the checkpoint has more layers than the 12 of {OPTION}.mode tiny"
    }


DEFAULT_MERGES = [True, True, False, True, False, True, False, True, False, True, False, False]
FEWER_MERGES = [True, True, False, True, False, True, False, False, False, False, False, False]


def test_merges_that_the_checkpoint_lacks() -> None:
    found = compare({"downsample": FEWER_MERGES}, {"downsample": DEFAULT_MERGES})
    cause = f"the checkpoint does not merge after layer 7, 9, {OPTION}.downsample says it does"
    assert {mismatch.cause for mismatch in found.values()} == {cause}
    assert {mismatch.layers for mismatch in found.values()} == {(7, 9)}


def test_merges_that_the_yaml_lacks() -> None:
    found = compare({"downsample": DEFAULT_MERGES}, {"downsample": FEWER_MERGES})
    cause = f"the checkpoint merges after layer 7, 9, {OPTION}.downsample says it does not"
    assert {mismatch.cause for mismatch in found.values()} == {cause}
    assert {mismatch.problem for mismatch in found.values()} == {"unknown"}


def test_prelu_in_the_checkpoint_alone() -> None:
    (mismatch,) = compare({"name": "prelu"}, {"name": "gelu"}).values()
    assert mismatch.cause == "the checkpoint was trained with prelu, model.activation.name says gelu"
    assert (mismatch.problem, mismatch.layers) == ("unknown", tuple(range(12)))


def test_prelu_in_the_yaml_alone() -> None:
    (mismatch,) = compare({"name": "gelu"}, {"name": "prelu"}).values()
    assert mismatch.cause == "the checkpoint was not trained with prelu, model.activation.name says prelu"
    assert (mismatch.problem, mismatch.layers) == ("missing", tuple(range(12)))


@pytest.mark.parametrize(
    "name",
    [
        "classifier.bias",
        "transformer.11.pre_norm_ffn.4.bias",
        "transformer.0.pre_norm_mha.0.weight",
        "downsamplers.downsample_9.norm.bias",
    ],
)
def test_one_tensor_missing_is_an_incomplete_file_and_not_another_option(name: str) -> None:
    (mismatch,) = compare_shapes(without(name), {}).values()
    assert mismatch.cause == INCOMPLETE
    assert (mismatch.problem, mismatch.name, mismatch.found) == ("missing", fold(name), None)


def test_one_prelu_slope_missing_is_an_incomplete_file() -> None:
    shapes = expected_shapes(make_options(name="prelu"))
    del shapes["transformer.4.pre_norm_ffn.2.weight"]
    (mismatch,) = compare_shapes(shapes, {"name": "prelu"}).values()
    assert mismatch.cause == INCOMPLETE


def test_no_position_table() -> None:
    (mismatch,) = compare_shapes(without("pos_embed"), {}).values()
    assert mismatch.cause == "the position table was not saved"


def test_a_position_table_without_its_two_first_axes() -> None:
    shapes = without() | {"pos_embed.pos_embed.pos_embed": (10000, 192)}
    (mismatch,) = compare_shapes(shapes, {}).values()
    assert mismatch.cause == "the checkpoint has 2 axes where CoreNet has 4"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("clasifier.bias", "the nearest name that CoreNet has is classifier.bias"),
        (
            "transformer.3.pre_norm_ffn.1.weights",
            "the nearest name that CoreNet has is transformer.3.pre_norm_ffn.1.weight",
        ),
        (
            "downsamplers.downsample_3.norm.scale",
            "the nearest name that CoreNet has is downsamplers.downsample_3.norm.bias",
        ),
        ("0", "not a tensor of CoreNet's ByteFormer: another model?"),
    ],
)
def test_an_unknown_tensor_is_named_with_the_nearest_one(name: str, cause: str) -> None:
    (mismatch,) = compare_shapes(without() | {name: (3,)}, {}).values()
    assert (mismatch.problem, mismatch.cause, mismatch.expected, mismatch.found) == ("unknown", cause, None, (3,))


def test_everything_is_told_at_once_missing_first() -> None:
    shapes = without("post_transformer_norm") | {"head.bias": (3,), "classifier.bias": (3,)}
    assert list(compare_shapes(shapes, {})) == [
        "missing post_transformer_norm.weight",
        "missing post_transformer_norm.bias",
        "shape classifier.bias",
        "unknown head.bias",
    ]


@pytest.mark.parametrize(
    ("name", "folded", "layers"),
    [
        ("transformer.11.pre_norm_ffn.4.bias", "transformer.{i}.pre_norm_ffn.4.bias", (11,)),
        ("downsamplers.downsample_31.norm.bias", "downsamplers.downsample_{i}.norm.bias", (31,)),
        ("post_transformer_norm.bias", "post_transformer_norm.bias", ()),
    ],
)
def test_a_name_is_folded_over_layers(name: str, folded: str, layers: tuple[int, ...]) -> None:
    assert fold(name) == folded
    assert layers_of([name]) == layers
