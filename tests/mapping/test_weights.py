"""Every CoreNet tensor has one way into the folder and the same way back, bit for bit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.bundled.modeling_byteformer import ByteFormerForImageClassification
from byteformer_convert.corenet.state_dict import expected_shapes
from byteformer_convert.errors import MappingError
from byteformer_convert.mapping import weights
from byteformer_convert.mapping.config import model_fields
from byteformer_convert.mapping.weights import RULES, map_weights, route, source_names, unmap_weights
from byteformer_convert.reference.byteformer import interleave_channels
from tests.worlds import corenet_twin, make_model, make_options

if TYPE_CHECKING:
    from torch import Tensor

SMALL = {"max_num_tokens": 8, "n_classes": 3, "conv_kernel_size": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "prelu": {"name": "prelu"},
    "sinusoidal": {"sinusoidal_pos_emb": True},
    "small": {"mode": "small"},
    "no merge": {"downsample": [False] * 12},
    "huge": {"mode": "huge", "window_shifts": [0] * 32, "downsample": [True] * 4 + [False] * 28},
}


def make_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state dict in which no two values are equal, as far as float32 can tell."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def assert_round_trip(state: dict[str, Tensor]) -> None:
    back = dict(unmap_weights(map_weights(state), state))
    assert list(back) == list(state)
    assert [name for name in state if not torch.equal(back[name], state[name])] == []
    assert {name: tensor.dtype for name, tensor in back.items()} == {name: t.dtype for name, t in state.items()}


@pytest.fixture(params=OPTIONS)
def names(request: pytest.FixtureRequest) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """CoreNet's names and shapes, and those of the folder's model, for the same options."""
    options = make_options(**SMALL | OPTIONS[request.param])
    with torch.device("meta"):
        config = ByteFormerConfig(**model_fields(options), num_labels=options.n_classes)
        model = ByteFormerForImageClassification(config)
    return expected_shapes(options), {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_every_name_of_corenets_is_used_and_every_name_of_the_folders_filled_exactly_once(names: Any) -> None:
    corenet, folder = names
    routes = [route(name) for name in corenet]
    assert None not in routes
    filled = Counter(target for way in routes for target in way.targets)
    assert filled == Counter(dict.fromkeys(folder, 1))


def test_every_tensor_arrives_in_the_shape_that_the_model_has(names: Any) -> None:
    corenet, folder = names
    mapped = map_weights({name: torch.empty(shape, device="meta") for name, shape in corenet.items()})
    assert {name: tuple(tensor.shape) for name, tensor in mapped.items()} == folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, {"hidden_act": "prelu"}, {"position_embedding_type": "sinusoidal"}])
def test_there_and_back_again_is_bit_for_bit(changes: dict[str, Any], dtype: torch.dtype) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in corenet_twin(make_model(**changes)).state_dict().items()}
    assert_round_trip({name: tensor.to(dtype) for name, tensor in make_state(shapes).items()})


@pytest.mark.parametrize("seed", range(8))
def test_any_number_of_layers_and_merges_goes_there_and_back(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layers = int(torch.randint(1, 34, (), generator=generator))
    merges = torch.rand(layers, generator=generator) < 0.5
    model = make_model(num_hidden_layers=layers, window_shifts=0, downsample=merges.tolist(), hidden_act="prelu")
    state = model.state_dict()
    sources = source_names(state)
    assert len(sources) == 3 + 3 * int(merges.sum()) + 13 * layers + 4
    back = dict(unmap_weights(state, dict.fromkeys(sources)))
    assert {name: tensor.tolist() for name, tensor in map_weights(back).items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    assert_round_trip(back)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.source)
def test_each_rule_goes_there_and_back(rule: weights.Rule) -> None:
    shapes = expected_shapes(make_options(**SMALL, name="prelu"))
    members = {name: shape for name, shape in shapes.items() if (way := route(name)) and way.rule is rule}
    assert members, "a rule that no tensor uses"
    assert_round_trip(make_state(members))


def test_q_k_and_v_are_the_three_thirds_of_corenets_rows_in_this_order() -> None:
    weight = torch.arange(6.0)[:, None].expand(6, 2)
    mapped = map_weights({"transformer.7.pre_norm_mha.1.qkv_proj.weight": weight})
    first = {name.split(".")[-2]: tensor[:, 0].tolist() for name, tensor in mapped.items()}
    assert first == {"q_proj": [0, 1], "k_proj": [2, 3], "v_proj": [4, 5]}
    assert all(name.startswith("byteformer.layers.7.attention.") for name in mapped)


def test_a_merges_columns_are_sorted_by_token_so_that_a_reshape_merges() -> None:
    name, weight = "downsamplers.downsample_3.reduction.weight", torch.randn(4, 8)
    hidden = torch.randn(2, 6, 4)
    (merged,) = map_weights({name: weight}).values()
    expected = interleave_channels(hidden) @ weight.T
    torch.testing.assert_close(hidden.reshape(2, 3, 8) @ merged.T, expected)


def test_the_position_table_loses_its_two_first_axes() -> None:
    table = torch.randn(1, 1, 5, 4)
    mapped = map_weights({"pos_embed.pos_embed.pos_embed": table})
    assert torch.equal(mapped["byteformer.embeddings.position_embeddings"], table[0, 0])


def test_mapped_tensors_are_contiguous_and_share_memory_where_their_bytes_stay_in_order() -> None:
    state = make_state(expected_shapes(make_options(**SMALL)))
    mapped = map_weights(state)
    assert all(tensor.is_contiguous() for tensor in mapped.values())
    own = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    copied = [name for name, tensor in mapped.items() if tensor.untyped_storage().data_ptr() not in own]
    assert all(name.endswith("token_merging.reduction.weight") for name in copied)
    assert len(copied) == 6


def test_the_checkpoints_tensors_stay_as_they_are() -> None:
    state = make_state(expected_shapes(make_options(**SMALL)))
    before = {name: tensor.clone() for name, tensor in state.items()}
    dict(unmap_weights(map_weights(state), state))
    assert all(torch.equal(before[name], state[name]) for name in state)


# --- what does not fit ---


@pytest.mark.parametrize(
    "name",
    [
        "head.weight",
        "module.classifier.weight",  # anchored at the front
        "classifier.weight.0",  # and at the end
        "classifierXweight",  # a point is a point
        "transformer.x.pre_norm_mha.0.weight",
        "transformer.0.pre_norm_ffn.2.bias",
        "transformer.0.pre_norm_ffn.3.weight",
    ],
)
def test_a_name_that_no_rule_knows_is_an_error_that_names_it(name: str) -> None:
    assert route(name) is None
    with pytest.raises(MappingError, match="is not a tensor of CoreNet's ByteFormer") as caught:
        map_weights({name: torch.zeros(3)})
    assert caught.value.where == name


def test_two_tensors_that_lead_to_the_same_place_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "RULES", (*RULES, weights._rule("head.{p}", "classifier.{p}")))
    with pytest.raises(MappingError, match=r"two tensors of the checkpoint lead to classifier\.bias") as caught:
        map_weights({"classifier.bias": torch.zeros(3), "head.bias": torch.zeros(3)})
    assert caught.value.where == "head.bias"


def test_a_folder_that_lacks_tensors_cannot_be_mapped_back() -> None:
    mapped = {"classifier.weight": torch.zeros(3, 4)}
    with pytest.raises(MappingError, match=r"the folder lacks byteformer\.layernorm\.bias and 1 more"):
        unmap_weights(mapped, dict.fromkeys(["classifier.weight", "classifier.bias", "post_transformer_norm.bias"]))


def test_a_folder_that_holds_more_cannot_be_mapped_back() -> None:
    mapped = map_weights({"classifier.weight": torch.zeros(3, 4), "classifier.bias": torch.zeros(3)})
    with pytest.raises(MappingError, match=r"the folder holds classifier\.bias and 0 more that the checkpoint"):
        unmap_weights(mapped, {"classifier.weight": None})


def test_a_folders_name_that_comes_from_nowhere_is_an_error_that_names_it() -> None:
    with pytest.raises(MappingError, match="is not a tensor of a converted ByteFormer") as caught:
        source_names({"classifier.weight": None, "classifier.scale": None})
    assert caught.value.where == "classifier.scale"


def test_q_k_and_v_have_one_source() -> None:
    targets = [f"byteformer.layers.1.attention.{part}_proj.bias" for part in "qkv"]
    assert source_names(dict.fromkeys(targets)) == ("transformer.1.pre_norm_mha.1.qkv_proj.bias",)
