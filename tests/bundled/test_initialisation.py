"""A fresh model starts as a fresh CoreNet model does; loaded weights stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from byteformer_convert.bundled.modeling_byteformer import ByteFormerForImageClassification, ByteFormerModel
from tests.golden_cases import sinusoids
from tests.worlds import make_config, make_ids, make_model

HIDDEN = 64


@pytest.fixture(scope="module")
def fresh() -> dict[str, Tensor]:
    torch.manual_seed(0)
    shape = {"hidden_size": HIDDEN, "intermediate_size": 256, "max_position_embeddings": 500, "num_labels": 100}
    return ByteFormerForImageClassification(make_config(conv_kernel_size=16, **shape)).state_dict()


def test_bytes_and_positions_are_normal_with_std_of_one_over_root_hidden(fresh: dict[str, Tensor]) -> None:
    tables = (
        fresh["byteformer.embeddings.byte_embeddings.weight"][:-1],
        fresh["byteformer.embeddings.position_embeddings"],
    )
    for table in tables:
        assert table.mean().item() == pytest.approx(0, abs=0.01)
        assert table.std().item() == pytest.approx(HIDDEN**-0.5, rel=0.03)
        assert table.abs().max().item() > 3 * HIDDEN**-0.5, "CoreNet cuts at 2, not at 2 standard deviations"


def test_the_padding_row_is_zero(fresh: dict[str, Tensor]) -> None:
    assert fresh["byteformer.embeddings.byte_embeddings.weight"][-1].count_nonzero() == 0


def is_uniform(tensor: Tensor, bound: float) -> bool:
    """Whether values reach up to the bound and no further, and spread as evenly as they should."""
    highest, std = tensor.abs().max().item(), tensor.std().item()
    return 0.98 * bound < highest <= bound * 1.0001 and abs(std / (bound / 3**0.5) - 1) < 0.05


def test_the_byte_convolution_is_uniform_as_torchs_default(fresh: dict[str, Tensor]) -> None:
    assert is_uniform(fresh["byteformer.embeddings.projection.weight"], (HIDDEN * 16) ** -0.5)


@pytest.mark.parametrize(
    ("name", "fan_in", "fan_out"),
    [
        ("byteformer.layers.0.attention.q_proj", HIDDEN, 3 * HIDDEN),  # CoreNet draws q, k and v as one matrix
        ("byteformer.layers.0.attention.k_proj", HIDDEN, 3 * HIDDEN),
        ("byteformer.layers.1.attention.v_proj", HIDDEN, 3 * HIDDEN),
        ("byteformer.layers.0.attention.o_proj", HIDDEN, HIDDEN),
        ("byteformer.layers.0.mlp.fc1", HIDDEN, 256),
        ("byteformer.layers.0.mlp.fc2", 256, HIDDEN),
        ("byteformer.layers.0.token_merging.reduction", 2 * HIDDEN, HIDDEN),
        ("classifier", HIDDEN, 100),
    ],
)
def test_linear_layers_are_xavier_uniform_with_zero_bias(
    fresh: dict[str, Tensor], name: str, fan_in: int, fan_out: int
) -> None:
    assert is_uniform(fresh[f"{name}.weight"], (6 / (fan_in + fan_out)) ** 0.5)
    if not name.endswith("reduction"):
        assert fresh[f"{name}.bias"].count_nonzero() == 0


def test_norms_start_at_one_and_zero(fresh: dict[str, Tensor]) -> None:
    norms = {name: tensor for name, tensor in fresh.items() if "norm" in name}
    assert len(norms) == 12
    for name, tensor in norms.items():
        assert (tensor == (1 if name.endswith("weight") else 0)).all(), name


def test_prelu_starts_at_a_quarter() -> None:
    model = ByteFormerForImageClassification(make_config(hidden_act="prelu"))
    assert [layer.mlp.activation.weight.tolist() for layer in model.byteformer.layers] == [[0.25], [0.25]]


def test_fixed_positions_are_all_sines_and_then_all_cosines() -> None:
    model = ByteFormerForImageClassification(make_config(position_embedding_type="sinusoidal"))
    positions = model.byteformer.embeddings.position_embeddings
    torch.testing.assert_close(positions, sinusoids((1, 1, 64, 8))[0, 0])


# --- loading ---


WORLDS: list[dict[str, Any]] = [
    {},
    {"position_embedding_type": "sinusoidal"},
    {"hidden_act": "prelu", "hidden_act_slope": 0.3, "layer_norm_fp32": True, "drop_path_rate": 0.1},
    {"mask_padding": True, "mask_shifted_windows": True, "last_axis_layer_norm": True},
]


@pytest.mark.parametrize("world", WORLDS)
def test_a_saved_model_comes_back_bit_for_bit(world: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(**world)
    model.save_pretrained(tmp_path)
    loaded, info = ByteFormerForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_tensors(loaded.state_dict(), model.state_dict())
    assert torch.equal(loaded(make_ids(30, 17)).logits, model(make_ids(30, 17)).logits)
    assert not loaded.training


def test_fixed_positions_are_saved_and_loaded_as_they_are(tmp_path: Path) -> None:
    model = make_model(position_embedding_type="sinusoidal")
    with torch.no_grad():
        model.byteformer.embeddings.position_embeddings.mul_(2)  # a checkpoint's own table
    model.save_pretrained(tmp_path)
    loaded = ByteFormerForImageClassification.from_pretrained(tmp_path)
    assert_same_tensors(loaded.state_dict(), model.state_dict())


def test_the_backbone_alone_loads_from_a_classifiers_folder(tmp_path: Path) -> None:
    model, ids = make_model(), make_ids(30, 17)
    model.save_pretrained(tmp_path)
    backbone = ByteFormerModel.from_pretrained(tmp_path)
    assert torch.equal(backbone(ids).last_hidden_state, model.byteformer(ids).last_hidden_state)


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_a_new_number_of_classes_gets_a_new_classifier_and_keeps_all_else(kind: str, tmp_path: Path) -> None:
    model = make_model(hidden_size=HIDDEN, position_embedding_type=kind)
    model.save_pretrained(tmp_path)
    torch.manual_seed(0)
    loaded = ByteFormerForImageClassification.from_pretrained(tmp_path, num_labels=100, ignore_mismatched_sizes=True)
    assert_new_classifier_and_nothing_else(loaded, model, classes=100)


def test_a_missing_classifier_is_drawn_afresh_and_all_else_is_kept(tmp_path: Path) -> None:
    model = make_model(hidden_size=HIDDEN, num_labels=100)
    model.byteformer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    loaded = ByteFormerForImageClassification.from_pretrained(tmp_path, num_labels=100)
    assert_new_classifier_and_nothing_else(loaded, model, classes=100)


def assert_new_classifier_and_nothing_else(loaded: Any, model: Any, classes: int) -> None:
    ours, theirs = loaded.state_dict(), model.state_dict()
    weight, bias = ours.pop("classifier.weight"), ours.pop("classifier.bias")
    assert weight.shape == (classes, HIDDEN)
    assert is_uniform(weight, (6 / (classes + HIDDEN)) ** 0.5)
    assert bias.count_nonzero() == 0
    assert_same_tensors(ours, {name: theirs[name] for name in ours})


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_a_position_table_that_is_missing_is_filled_and_all_else_is_kept(kind: str, tmp_path: Path) -> None:
    name = "byteformer.embeddings.position_embeddings"
    model = make_model(hidden_size=HIDDEN, max_position_embeddings=500, position_embedding_type=kind)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = ByteFormerForImageClassification.from_pretrained(tmp_path).state_dict()
    table = loaded.pop(name)
    if kind == "sinusoidal":
        torch.testing.assert_close(table, sinusoids((1, 1, 500, HIDDEN))[0, 0])
    else:
        assert table.std().item() == pytest.approx(HIDDEN**-0.5, rel=0.03)
    assert_same_tensors(loaded, tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_folder_in_half_precision_loads_in_half_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    model = make_model(position_embedding_type="sinusoidal").to(dtype)
    model.save_pretrained(tmp_path)
    loaded = ByteFormerForImageClassification.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    # transformers leaves a buffer in the dtype that it was built in; the values are the folder's.
    assert_same_tensors({name: tensor.to(dtype) for name, tensor in loaded.state_dict().items()}, model.state_dict())
    for mode in (loaded.eval(), loaded.train()):
        assert mode(make_ids(30)).logits.dtype == dtype


def assert_same_tensors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
