"""The fused products of CPU inference: the numbers of the plain steps, and taken only where nobody is looking."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations

from byteformer_convert.bundled import inference_byteformer as inference
from byteformer_convert.bundled.modeling_byteformer import ByteFormerForImageClassification
from tests.tolerances import ILL_CONDITIONED, Tolerance
from tests.worlds import make_config, make_ids

Model = ByteFormerForImageClassification
ONE_WINDOW = 0  # in a group, however many threads there are
# Where the order of a window's tokens counts, or a shift is more than a window: short inputs go the plain way.
ORDERED: tuple[dict[str, Any], ...] = ({"window_sizes": 8}, {"window_shifts": [6, 9]})  # 8, as many as channels

pytestmark = pytest.mark.skipif(
    not inference.HAS_FUSED_LINEAR, reason="this torch has no oneDNN linear with what follows it"
)


def make_model(**changes: Any) -> Model:
    torch.manual_seed(0)
    return Model(make_config(**changes)).eval()


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one entry with each fused product."""
    calls: list[int] = []
    original = inference.fused_linear

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(inference, "fused_linear", counted)
    return calls


@pytest.mark.parametrize("lengths", [(40,), (41, 41), (200,)])
def test_the_fused_products_give_the_numbers_of_the_plain_steps(
    lengths: tuple[int, ...], fused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = make_model(max_position_embeddings=200), make_ids(*lengths)
    with torch.no_grad():
        quick = model(ids).logits
        assert fused
        monkeypatch.setattr(inference, "HAS_FUSED_LINEAR", False)
        plain = model(ids).logits
    assert (quick - plain).abs().max() <= Tolerance().logits


@pytest.mark.parametrize("length", range(4, 44))  # 34 bytes meet the axis rule after the merge
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window_sizes": [3, 4], "downsample": [True, True]},  # pairs that straddle windows
        {"window_sizes": 6, "window_shifts": [3, 2], "downsample": [True, True]},
        *ORDERED,
    ],
)
@pytest.mark.parametrize("group", [ONE_WINDOW, 10_000])
@pytest.mark.parametrize("step", [2, 64])  # filling tokens are left out, or too few to be
def test_any_length_in_groups_is_the_same_layer_by_layer(
    length: int, changes: dict[str, Any], group: int, step: int, fused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "GROUP_ENTRIES", group)
    monkeypatch.setattr(inference, "FILLING_STEP", step)
    model, ids = make_model(**changes), make_ids(length, max(length - 5, 1))
    with torch.no_grad():
        quick = model(ids, output_hidden_states=True).hidden_states
    assert fused or changes in ORDERED
    plain = model(ids, output_hidden_states=True).hidden_states  # with gradients: nothing is fused
    tolerance = ILL_CONDITIONED.first if changes == ORDERED[0] else Tolerance().first
    torch.testing.assert_close(quick, plain, rtol=0, atol=tolerance)


@pytest.mark.parametrize("keeps_gradients", [True, False])
@pytest.mark.parametrize("id_", [257, 300, -2, -100])
@pytest.mark.parametrize("position", [0, 7, 40])
def test_an_id_that_no_byte_has_is_refused(id_: int, position: int, keeps_gradients: bool) -> None:
    """In the byte table it would be another byte's row, of the next or the last position."""
    model, ids = make_model(), make_ids(41)
    ids[0, position] = id_
    with torch.set_grad_enabled(keeps_gradients), pytest.raises(IndexError, match=f"0 to 256, .* {id_}|from {id_} to"):
        model(ids)


def test_forward_mode_derivatives_are_there_where_gradients_are_off(fused: list[int]) -> None:
    model, ids = make_model(), make_ids(41, 30)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    for name in ("layers.0.mlp.fc1.weight", "embeddings.projection.weight", "embeddings.position_embeddings"):
        name = f"byteformer.{name}"
        start, direction = weights[name], torch.randn(weights[name].shape) / 10

        def logits(weight: torch.Tensor, name: str = name) -> torch.Tensor:
            output = torch.func.functional_call(model, {**weights, name: weight}, (ids,))
            return output.logits  # type: ignore[no-any-return]

        with sdpa_kernel(SDPBackend.MATH):  # the others have no forward mode
            with torch.no_grad():
                off = torch.func.jvp(logits, (start,), (direction,))[1]
            on = torch.func.jvp(logits, (start,), (direction,))[1]
        assert on.abs().max() > 1e-3
        torch.testing.assert_close(off, on)
    assert not fused


def test_weights_that_change_while_something_is_made_of_them_are_not_taken_for_it() -> None:
    """As where another thread swaps averaged weights in, and the old ones back later."""
    weight = nn.Parameter(torch.ones(3))

    def make(given: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            weight.fill_(5)
        return given * 2

    kept = inference.MadeOfWeights(make)
    kept.of(weight)
    with torch.no_grad():
        weight.fill_(1)
    assert kept.of(weight).tolist() == [2, 2, 2]


def test_a_hook_on_all_modules_sees_the_linear_layers(fused: list[int]) -> None:
    model, seen = make_model(), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        with torch.no_grad():
            model(make_ids(41))
    finally:
        handle.remove()
    assert seen.count(nn.Linear) == 2 * 6 + 1 + 1  # of two layers, a merge and the classifier
    assert not fused


@pytest.mark.parametrize(
    ("tokens", "shift", "most", "views", "copied"),
    [
        (39, 0, 8, [5], 5),  # not 8, 1 and 1
        (75, 0, 8, [6, 6], 7),
        (75, 2, 8, [6, 6], 7),
        (32, 0, 8, [8], 0),  # nothing wraps around or is filled up
        (30, 0, 8, [], 8),
        (39, 2, 1, [1] * 9, 1),
    ],
)
def test_groups_of_one_file_are_few_and_equal(
    tokens: int, shift: int, most: int, views: list[int], copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(inference, "GROUP_ENTRIES", most * 4 * 8)
    _, whole, allowed = inference.groups_of(torch.empty(1, tokens, 8), 4, shift)
    assert allowed == most
    assert [len(range(whole)[group]) for _, group in inference.groups(1, whole, most)] == views
    assert -(-tokens // 4) - whole == copied


@pytest.mark.parametrize("most", [2, 3])
@pytest.mark.parametrize("length", range(40, 120, 7))
def test_one_file_in_several_groups_is_the_same(
    length: int, most: int, fused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = make_model(max_position_embeddings=200), make_ids(length)
    hidden, window = model.config.hidden_size, model.config.window_sizes[0]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(inference, "GROUP_ENTRIES", most * window * hidden)
    with torch.no_grad():
        quick = model(ids, output_hidden_states=True).hidden_states
    assert fused
    plain = model(ids, output_hidden_states=True).hidden_states  # with gradients: nothing is fused
    torch.testing.assert_close(quick, plain, rtol=0, atol=Tolerance().first)


def test_the_input_of_a_layer_is_left_alone(fused: list[int]) -> None:
    layer = make_model().byteformer.layers[0]
    hidden_states = torch.randn(2, 17, layer.attention.q_proj.in_features)
    before = hidden_states.clone()
    with torch.inference_mode():
        layer(hidden_states)
    assert fused
    assert torch.equal(hidden_states, before)


class Doubled(nn.Linear):
    """Another linear layer."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(hidden_states)


class Adapted(nn.Module):
    """As PEFT's LoRA layer: it has the weight of the layer that it wraps, and adds to what that gives."""

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer, self.lora = base_layer, nn.Linear(base_layer.in_features, base_layer.out_features)

    @property
    def weight(self) -> torch.Tensor:
        return self.base_layer.weight

    @property
    def bias(self) -> torch.Tensor:
        return self.base_layer.bias

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.base_layer(hidden_states) + self.lora(hidden_states)


def doubled(linear: nn.Linear) -> nn.Module:
    return Doubled(linear.in_features, linear.out_features)


def with_parametrization(model: Model) -> None:
    for layer in model.byteformer.layers:
        parametrizations.weight_norm(layer.mlp.fc1)


def with_hook(model: Model) -> None:
    for layer in model.byteformer.layers:
        layer.mlp.fc2.register_forward_hook(lambda module, args, output: None)


def with_dropout_left_on(model: Model) -> None:
    for layer in model.byteformer.layers:
        layer.dropout.train()


def with_another_forward(model: Model) -> None:
    for layer in model.byteformer.layers:
        layer.attention.o_proj.forward = lambda hidden_states: 3 * hidden_states  # type: ignore[method-assign]


@pytest.mark.parametrize("change", [with_parametrization, with_hook, with_dropout_left_on, with_another_forward])
def test_a_model_that_somebody_changed_goes_the_plain_way(change: Callable[[Model], None], fused: list[int]) -> None:
    model = make_model()
    change(model)
    with torch.no_grad():
        model(make_ids(40))
    assert not fused


@pytest.mark.parametrize("replace", [doubled, Adapted])
@pytest.mark.parametrize(
    "name", ["attention.q_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2", "token_merging.reduction"]
)
def test_a_replaced_linear_is_called(name: str, replace: Callable[[nn.Linear], nn.Module], fused: list[int]) -> None:
    model, ids = make_model(), make_ids(40)
    layer = model.byteformer.layers[0]
    layer.set_submodule(name, replace(layer.get_submodule(name)).eval())  # type: ignore[arg-type]
    with torch.no_grad():
        logits = model(ids).logits
    assert fused  # the other layers
    assert (logits - model(ids).logits).abs().max() <= Tolerance().logits  # with gradients: the plain steps


@pytest.mark.parametrize(
    "surroundings",
    [
        torch.enable_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.backends.mkldnn.flags(False),
    ],
    ids=["gradients", "autocast", "without oneDNN"],
)
def test_gradients_autocast_and_a_torch_without_onednn_go_the_plain_way(
    surroundings: Callable[[], Any], fused: list[int]
) -> None:
    model = make_model()
    with torch.no_grad(), surroundings():
        model(make_ids(40))
        model.byteformer.layers[0](torch.randn(1, 17, model.config.hidden_size))  # float32 under autocast, too
    assert not fused


@pytest.mark.parametrize("changes", [{"hidden_act": "swish"}, {}], ids=["another activation", "float64"])
def test_what_it_was_not_made_for_goes_the_plain_way(changes: dict[str, Any], fused: list[int]) -> None:
    model = make_model(**changes)
    with torch.no_grad():
        (model if changes else model.double())(make_ids(40))
    assert not fused


class Quantized(torch.Tensor):
    """As torchao's weights: it stands in an nn.Linear and says that it is float32."""


def test_a_weight_that_is_no_plain_tensor_goes_the_plain_way(fused: list[int]) -> None:
    model = make_model()
    for layer in model.byteformer.layers:
        layer.mlp.fc1.weight = nn.Parameter(layer.mlp.fc1.weight.detach().as_subclass(Quantized))
    with torch.no_grad():
        model(make_ids(40))
    assert not fused


@pytest.mark.skipif(not inference.HAS_BFLOAT16, reason="this processor does not compute in bfloat16")
@pytest.mark.parametrize("changes", [{}, {"layer_norm_fp32": True}])
def test_bfloat16_is_fused_and_as_near_to_float32_as_the_plain_steps(changes: dict[str, Any], fused: list[int]) -> None:
    model, ids = make_model(**changes), make_ids(40)
    exact = model(ids).logits
    model.to(torch.bfloat16)
    with torch.no_grad():
        quick = model(ids).logits
    assert fused
    assert quick.dtype == torch.bfloat16
    plain = model(ids).logits
    assert (quick - exact).abs().max() <= 2 * (plain - exact).abs().max()


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one entry each time that a layer's weights are packed; one group alone is never packed."""
    if not inference.can_pack_weights():
        pytest.skip("this torch does not pack weights")
    made: list[int] = []

    def counted(*weights: torch.Tensor) -> Any:
        made.append(len(weights))
        return inference.pack_weights(*weights)

    monkeypatch.setattr(inference.PACKED_WEIGHTS, "_make", counted)
    monkeypatch.setattr(inference, "GROUP_ENTRIES", ONE_WINDOW)
    return made


def logits_of(model: Model, ids: torch.Tensor, *, packing: bool = True) -> torch.Tensor:
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        if not packing:
            patch.setattr(inference, "can_pack_weights", lambda: False)
        return model(ids).logits


def test_packed_weights_give_the_numbers_of_plain_ones_and_are_made_once(packed: list[int]) -> None:
    model, ids = make_model(max_position_embeddings=200), make_ids(200, 150)
    plain = logits_of(model, ids, packing=False)
    assert not packed
    assert (logits_of(model, ids) - plain).abs().max() <= Tolerance().logits
    made = len(packed)
    assert made
    logits_of(model, ids)
    assert len(packed) == made


def multiply_in_place(linear: nn.Linear) -> None:
    linear.weight.mul_(-2)


def multiply_through_data(linear: nn.Linear) -> None:
    linear.weight.data *= -2


def replace_data(linear: nn.Linear) -> None:
    linear.weight.data = linear.weight.data * -2


@pytest.mark.parametrize("change", [multiply_in_place, multiply_through_data, replace_data])
@pytest.mark.parametrize(
    "name", ["attention.q_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2", "token_merging.reduction"]
)
def test_weights_that_change_are_packed_again(
    name: str, change: Callable[[nn.Linear], None], packed: list[int]
) -> None:
    model, ids = make_model(max_position_embeddings=200), make_ids(200)
    before = logits_of(model, ids)
    with torch.no_grad():
        change(model.byteformer.layers[0].get_submodule(name))  # type: ignore[arg-type]
    after = logits_of(model, ids)
    assert (after - before).abs().max() > 10 * Tolerance().logits
    assert (after - logits_of(model, ids, packing=False)).abs().max() <= Tolerance().logits


def test_a_layer_whose_merge_is_taken_away_does_not_merge(packed: list[int]) -> None:
    layer = make_model().byteformer.layers[0]
    hidden_states = torch.randn(2, 33, layer.attention.q_proj.in_features)
    with torch.no_grad():
        assert layer(hidden_states)[0].shape[1] == 17
        layer.token_merging = None
        quick = layer(hidden_states)[0]
    assert packed
    assert (quick - layer(hidden_states)[0]).abs().max() <= Tolerance().first


def test_packed_weights_are_dropped_by_training_and_with_the_model(packed: list[int]) -> None:
    kept = inference.PACKED_WEIGHTS._kept
    model, ids = make_model(max_position_embeddings=200), make_ids(200)
    weights = [layer.attention.q_proj.weight for layer in model.byteformer.layers]
    names = set(model.state_dict())
    logits_of(model, ids)
    assert any(weight in kept for weight in weights)
    assert set(model.state_dict()) == names
    model.train()
    assert not any(weight in kept for weight in weights)
    logits_of(model.eval(), ids)
    keys = {id(weight) for weight in weights}
    assert keys & {id(weight) for weight in kept}
    del model, weights
    gc.collect()
    assert not keys & {id(weight) for weight in kept}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_weights_of_its_own(copied: Callable[[Model], Model], packed: list[int]) -> None:
    model, ids = make_model(max_position_embeddings=200), make_ids(200)
    before = logits_of(model, ids)
    other = copied(model)
    with torch.no_grad():
        other.byteformer.layers[0].mlp.fc1.weight.mul_(-2)
    assert not torch.equal(logits_of(other, ids), before)
    assert torch.equal(logits_of(model, ids), before)


def test_large_layers_are_not_kept_twice(packed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "PACKED_ENTRIES", 10)
    logits_of(make_model(max_position_embeddings=200), make_ids(200))
    assert not packed
