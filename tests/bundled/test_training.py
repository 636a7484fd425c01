"""Training: CoreNet's loss and gradients, with and without checkpointing; dropout where CoreNet has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from byteformer_convert.bundled.modeling_byteformer import ByteFormerDropPath
from byteformer_convert.mapping.weights import unmap_weights
from tests.golden_cases import golden_cases
from tests.tolerances import Tolerance
from tests.worlds import golden_model, make_ids, make_model

TRAINED = [name for name, case in golden_cases().items() if case.train]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step_has_corenets_loss_and_gradients(name: str, checkpointing: bool) -> None:
    case, tolerance = golden_cases()[name], Tolerance()
    step = case.train
    assert step is not None
    model = golden_model(case).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    loss = model(case.ids(), labels=torch.tensor(step.labels)).loss
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    norms = {name: gradient.norm().item() for name, gradient in unmap_weights(gradients, step.grad_norm)}
    assert loss.item() == pytest.approx(step.loss, abs=tolerance.loss)
    assert norms == pytest.approx(step.grad_norm, rel=tolerance.grad_norm, abs=tolerance.grad_floor)


def watched(model: Any) -> None:
    """Somebody looks at the convolution: then it is called."""
    model.byteformer.embeddings.projection.register_forward_hook(lambda *_: None)


def with_frozen_embeddings(model: Any) -> None:
    model.byteformer.embeddings.byte_embeddings.weight.requires_grad_(False)


def with_frozen_convolution(model: Any) -> None:
    model.byteformer.embeddings.projection.weight.requires_grad_(False)


@pytest.mark.parametrize("change", [lambda model: None, with_frozen_embeddings, with_frozen_convolution])
@pytest.mark.parametrize("kernel", [4, 8])
def test_the_byte_table_has_the_gradients_of_embedding_and_convolution(change: Any, kernel: int) -> None:
    ids = make_ids(61, 40)
    ids[0, 7] = 256  # padding in the middle, too: its row has no gradient
    gradients = []
    for prepare in (lambda model: None, watched):
        model = make_model(conv_kernel_size=kernel).train()
        change(model)
        prepare(model)
        model(ids, labels=torch.tensor([1, 2])).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.byteformer.embeddings.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    table = gradients[0]["byte_embeddings.weight"]
    assert table is None or (not table[256].any() and table[:256].any())


def test_embeddings_that_are_learned_are_looked_up_with_their_new_values() -> None:
    model, ids = make_model(), make_ids(61)
    before = model(ids).logits
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, before, atol=1e-5)
        model.byteformer.embeddings.byte_embeddings.weight.data.mul_(-2)
    after = model(ids).logits
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, after, atol=1e-5)
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 1), (True, 2)])
def test_under_checkpointing_every_layer_really_runs_again_in_the_backward_pass(
    checkpointing: bool, passes: int
) -> None:
    model, calls = make_model().train(), [0, 0]
    if checkpointing:
        model.gradient_checkpointing_enable()
    for index, layer in enumerate(model.byteformer.layers):
        layer.attention.register_forward_hook(lambda *_, index=index: calls.__setitem__(index, calls[index] + 1))
    model(make_ids(30), labels=torch.tensor([1])).loss.backward()
    assert calls == [passes, passes]


@pytest.mark.parametrize("switches", [{}, {"mask_padding": True, "mask_shifted_windows": True}])
def test_checkpointing_changes_no_gradient_even_with_drop_path(switches: dict[str, Any]) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make_model(drop_path_rate=0.5, **switches).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(0)
        model(make_ids(130, 60), labels=torch.tensor([1, 2])).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0])


def test_checkpointing_can_be_switched_off_again() -> None:
    model = make_model().train()
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


@pytest.mark.parametrize("mask_padding", [False, True])
def test_the_padding_row_gets_no_gradient(mask_padding: bool) -> None:
    model = make_model(mask_padding=mask_padding).train()
    model(make_ids(30, 17), labels=torch.tensor([1, 2])).loss.backward()
    gradient = model.get_input_embeddings().weight.grad
    assert gradient[-1].count_nonzero() == 0
    assert gradient[:-1].count_nonzero() > 0


def test_fixed_positions_get_no_gradient_and_learned_ones_do() -> None:
    def trained(kind: str) -> bool:
        model = make_model(position_embedding_type=kind)
        return any("position_embeddings" in name for name, _ in model.named_parameters())

    assert trained("learned")
    assert not trained("sinusoidal")


# --- drop-path ---


@pytest.mark.parametrize("layers", [1, 2, 12, 32])
@pytest.mark.parametrize("highest", [0.0, 0.0125, 0.1, 0.0005, 0.0565])
def test_drop_path_rates_rise_linearly_and_are_rounded_as_numpy_does(highest: float, layers: int) -> None:
    model = make_model(num_hidden_layers=layers, window_shifts=0, downsample=False, drop_path_rate=highest)
    rates = [layer.drop_path.rate for layer in model.byteformer.layers]
    assert rates == [float(round(rate, 3)) for rate in np.linspace(0, highest, layers)]


def test_drop_path_drops_whole_rows_and_scales_the_others_up() -> None:
    torch.manual_seed(0)
    rows = ByteFormerDropPath(0.25).train()(torch.ones(1000, 2, 3)).flatten(1)
    assert torch.equal(rows.amin(dim=1), rows.amax(dim=1))
    assert sorted(set(rows[:, 0].tolist())) == pytest.approx([0, 1 / 0.75])
    assert (rows[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_drop_path_drops_windows_and_not_files() -> None:
    layer = make_model(drop_path_rate=0.5).byteformer.layers[1].train()
    torch.manual_seed(0)
    hidden = torch.rand(1, 40, 8)  # ten windows of one file
    output = layer(hidden)[0]
    kept_as_it_was = torch.roll((output == hidden).all(dim=2), -2, dims=1).reshape(10, 4)
    assert torch.equal(kept_as_it_was.any(dim=1), kept_as_it_was.all(dim=1))
    assert 0 < kept_as_it_was.all(dim=1).sum() < 10


@pytest.mark.parametrize("branch", ["attention", "mlp"])
def test_drop_path_stands_on_both_branches(branch: str) -> None:
    layer = make_model(drop_path_rate=0.5).byteformer.layers[1].train()
    other = layer.mlp.fc2 if branch == "attention" else layer.attention.o_proj
    with torch.no_grad():
        other.weight.zero_()
        other.bias.zero_()
    torch.manual_seed(0)
    hidden = torch.rand(1, 400, 8)
    unchanged = torch.roll((layer(hidden)[0] == hidden).all(dim=2), -2, dims=1).reshape(100, 4).all(dim=1)
    assert 25 < unchanged.sum() < 75


# --- dropout ---


def test_dropout_stands_after_the_embeddings_the_attention_and_the_feed_forward_network() -> None:
    model = make_model(hidden_dropout_prob=1.0, downsample=False).train()
    states = model(make_ids(30), output_hidden_states=True).hidden_states
    assert [state.count_nonzero().item() for state in states] == [0, 0, 0]


def test_dropouts_rate_is_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, bool]] = []
    plain = F.dropout
    monkeypatch.setattr(F, "dropout", lambda x, p, training, inplace: seen.append((p, training)) or plain(x, p))
    model, ids = make_model(hidden_dropout_prob=0.3), make_ids(30)
    model.train()(ids)
    assert [rate for rate, training in seen if training and rate] == [0.3] * 5  # embeddings, two in each layer


@pytest.mark.parametrize("rates", [{"hidden_dropout_prob": 0.5}, {"drop_path_rate": 0.5}])
def test_in_evaluation_nothing_is_dropped(rates: dict[str, float]) -> None:
    ids = make_ids(30)
    assert torch.equal(make_model(**rates)(ids).logits, make_model()(ids).logits)
    torch.manual_seed(0)
    assert not torch.allclose(make_model(**rates).train()(ids).logits, make_model()(ids).logits, atol=1e-3)
