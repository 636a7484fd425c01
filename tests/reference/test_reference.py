"""The reference against CoreNet's own numbers, and every oddity of CoreNet's by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from byteformer_convert.reference import CoreNetByteFormer
from byteformer_convert.reference.byteformer import (
    CoreNetLayerNorm,
    CoreNetLayerNormFP32,
    DropPath,
    drop_path_rates,
    interleave_channels,
    make_activation,
    partition_windows,
)
from tests.golden_cases import GoldenCase, golden_cases, sinusoids
from tests.tolerances import Tolerance, tolerance_of


@dataclass(frozen=True, slots=True)
class Run:
    """A golden case and what the reference makes of its input."""

    case: GoldenCase
    model: CoreNetByteFormer
    stages: dict[str, torch.Tensor]

    @property
    def tolerance(self) -> Tolerance:
        return tolerance_of(self.case.name)


@pytest.fixture(scope="module")
def run(golden_case: GoldenCase) -> Run:
    model = CoreNetByteFormer.from_state_dict(golden_case.state_dict(), **golden_case.architecture)
    with torch.no_grad():
        return Run(golden_case, model, model.stages(golden_case.ids()))


def make_architecture(**changes: Any) -> dict[str, Any]:
    """A world small enough to reason about: two layers of eight channels, windows of four, one merge."""
    architecture: dict[str, Any] = {
        "embed_dim": 8,
        "num_layers": 2,
        "num_heads": 2,
        "ffn_dim": 16,
        "n_classes": 3,
        "vocab_size": 257,
        "max_num_tokens": 64,
        "conv_kernel_size": 4,
        "window_sizes": [4, 4],
        "window_shifts": [0, 2],
        "downsample": [True, False],
        "sinusoidal_pos_emb": False,
        "norm_layer": "layer_norm",
        "activation": "gelu",
        "neg_slope": 0.1,
    }
    return architecture | changes


def make_reference(**changes: Any) -> CoreNetByteFormer:
    """That world in evaluation mode, with the same random weights whenever the shapes are the same."""
    torch.manual_seed(0)
    return CoreNetByteFormer(**make_architecture(**changes)).eval()


def make_ids(*lengths: int) -> torch.Tensor:
    """Random bytes of the given lengths, padded with -1 to the longest: (batch, bytes)."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(0, 256, (length,), generator=generator) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


# --- against CoreNet ---


def test_names_and_shapes_of_the_state_dict_are_corenets_in_corenets_order(run: Run) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in run.model.state_dict().items()}
    assert list(ours.items()) == list(run.case.parameters.items())
    assert tuple(name for name, _ in run.model.named_buffers()) == run.case.buffers


def test_logits_are_corenets(run: Run) -> None:
    torch.testing.assert_close(run.stages["logits"], run.case.logits, rtol=0, atol=run.tolerance.logits)


def test_every_stage_is_corenets(run: Run) -> None:
    names = [stage.name for stage in run.case.stages]
    assert list(run.stages) == [*names, "logits"]
    for golden in run.case.stages:
        ours = run.stages[golden.name]
        assert tuple(ours.shape) == golden.shape, golden.name
        assert ours.mean().item() == pytest.approx(golden.mean, abs=run.tolerance.mean), golden.name
        assert ours.std().item() == pytest.approx(golden.std, abs=run.tolerance.std), golden.name
        assert ours.flatten()[:6].tolist() == pytest.approx(golden.first, abs=run.tolerance.first), golden.name


@pytest.mark.parametrize("name", [name for name, case in golden_cases().items() if case.train])
def test_a_training_step_has_corenets_loss_and_gradients(name: str) -> None:
    case, tolerance = golden_cases()[name], Tolerance()
    step = case.train
    assert step is not None
    model = CoreNetByteFormer.from_state_dict(case.state_dict(), **case.architecture).train()
    loss = F.cross_entropy(model(case.ids()), torch.tensor(step.labels))
    loss.backward()
    norms = {name: parameter.grad.norm().item() for name, parameter in model.named_parameters()}
    assert loss.item() == pytest.approx(step.loss, abs=tolerance.loss)
    assert norms == pytest.approx(step.grad_norm, rel=tolerance.grad_norm, abs=tolerance.grad_floor)
    assert model.embeddings.weight.grad[-1].count_nonzero() == 0  # CoreNet never trains the padding row


def test_a_checkpoint_that_corenet_trained_classifies_as_in_corenet(shared: Any) -> None:
    state = torch.load(shared / "trained/digits_fhwc_k4_w32.pt", weights_only=True, mmap=True)
    options = yaml.safe_load((shared / "trained/digits_fhwc_k4_w32.yaml").read_text())["model"]["classification"]
    tiny = dict(golden_cases()["jpeg_k4_w128"].architecture)
    changes = {name: options["byteformer"][name] for name in ("max_num_tokens", "conv_kernel_size", "window_shifts")}
    windows = options["byteformer"]["window_sizes"] * tiny["num_layers"]
    tiny |= changes | {"window_sizes": windows, "n_classes": options["n_classes"]}
    model = CoreNetByteFormer.from_state_dict(state, **tiny)

    data = np.load(shared / "trained/digits_test.npz")
    batches = [cut_to_longest(rows) for rows in torch.from_numpy(data["ids"]).long().split(40)]
    with torch.no_grad():
        logits = [model(batch) for batch in batches]
    torch.testing.assert_close(logits[0], torch.from_numpy(data["logits40"]), rtol=0, atol=Tolerance().logits)
    correct = torch.cat(logits).argmax(dim=1) == torch.from_numpy(data["labels"])
    assert correct.double().mean().item() == pytest.approx(float(data["acc"]), abs=1e-9)


def cut_to_longest(ids: torch.Tensor) -> torch.Tensor:
    """A batch without the columns that are padding in every row."""
    return ids[:, : int((ids != -1).sum(dim=1).max())]


# --- what CoreNet does, although its code looks as if it did not ---


def test_padding_is_never_masked() -> None:
    model, ids = make_reference(), make_ids(30)
    longer = F.pad(ids, (0, 8), value=-1)
    assert not torch.allclose(model(ids), model(longer), atol=1e-3)


def test_padding_looks_up_the_last_row() -> None:
    model, ids = make_reference(), make_ids(30, 17)
    assert torch.equal(model(ids), model(ids.masked_fill(ids == -1, 256)))


def test_without_a_row_of_its_own_padding_is_byte_255() -> None:
    model, ids = make_reference(vocab_size=256), make_ids(30, 17)
    assert torch.equal(model(ids), model(ids.masked_fill(ids == -1, 255)))


def test_the_callers_ids_stay_as_they_are() -> None:
    ids = make_ids(30, 17)
    before = ids.clone()
    make_reference()(ids)
    assert torch.equal(ids, before)


def test_the_last_window_of_a_shifted_layer_holds_end_and_beginning() -> None:
    tokens = torch.arange(1.0, 9).reshape(1, 8, 1)
    assert partition_windows(tokens, 4, 2).squeeze(2).tolist() == [[3, 4, 5, 6], [7, 8, 1, 2]]


def test_window_padding_comes_before_the_roll() -> None:
    tokens = torch.arange(1.0, 7).reshape(1, 6, 1)
    assert partition_windows(tokens, 4, 2).squeeze(2).tolist() == [[3, 4, 5, 6], [0, 0, 1, 2]]


@pytest.mark.parametrize(("shift", "same_as"), [(-2, 0), (10, 2), (8, 0)])
def test_a_shift_below_zero_does_nothing_and_a_large_one_wraps(shift: int, same_as: int) -> None:
    tokens = torch.rand(2, 8, 3)
    assert torch.equal(partition_windows(tokens, 4, shift), partition_windows(tokens, 4, same_as))


def test_the_end_of_a_shifted_sequence_attends_to_its_beginning() -> None:
    layer, hidden = make_reference().transformer[1], torch.rand(1, 8, 8)
    changed = hidden.clone()
    changed[0, 0] = torch.rand(8)  # the first token shares its window with the last two
    moved = (layer(hidden) - layer(changed)).abs().sum(dim=2)[0] > 0
    assert moved.tolist() == [True, True, False, False, False, False, True, True]


def test_the_zeros_that_fill_a_window_are_attended_to() -> None:
    layer, hidden = make_reference().transformer[0], torch.rand(1, 3, 8)
    alone = make_reference(window_sizes=[3, 3]).transformer[0]
    assert not torch.allclose(layer(hidden), alone(hidden), atol=1e-4)


@pytest.mark.parametrize("norm", [CoreNetLayerNorm(8), CoreNetLayerNormFP32(8)])
def test_the_norm_runs_over_axis_1_where_axis_1_is_as_long_as_embed_dim(norm: CoreNetLayerNorm) -> None:
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    hidden = torch.rand(2, 8, 8)
    over_tokens = (hidden - hidden.mean(1, keepdim=True)) / (hidden.std(1, correction=0, keepdim=True) + 1e-5)
    torch.testing.assert_close(norm(hidden), over_tokens * norm.weight[:, None] + norm.bias[:, None])


@pytest.mark.parametrize("tokens", [7, 9])
def test_the_norm_runs_over_channels_everywhere_else(tokens: int) -> None:
    hidden = torch.rand(2, tokens, 8)
    torch.testing.assert_close(CoreNetLayerNorm(8)(hidden), F.layer_norm(hidden, [8]))


def test_a_merge_puts_channel_c_of_token_t_at_2c_plus_t() -> None:
    hidden = torch.tensor([[[1.0, 2, 3], [10, 20, 30], [4, 5, 6], [40, 50, 60]]])
    assert interleave_channels(hidden).tolist() == [[[1, 10, 2, 20, 3, 30], [4, 40, 5, 50, 6, 60]]]


def test_merges_keep_the_plain_norm_whatever_norm_layer_says() -> None:
    model = make_reference(norm_layer="layer_norm_fp32")
    norms = {name: type(module) for name, module in model.named_modules() if isinstance(module, CoreNetLayerNorm)}
    plain = [name for name, kind in norms.items() if kind is CoreNetLayerNorm]
    assert len(norms) == 6
    assert plain == ["downsamplers.downsample_0.norm"]


def test_fixed_positions_are_all_sines_and_then_all_cosines() -> None:
    table = make_reference(sinusoidal_pos_emb=True).state_dict()["pos_embed.pos_embed.pos_embed"]
    torch.testing.assert_close(table, sinusoids((1, 1, 64, 8)))


# --- training ---


def test_drop_path_drops_whole_rows_and_scales_the_others_up() -> None:
    torch.manual_seed(0)
    rows = DropPath(0.25).train()(torch.ones(1000, 2, 3))
    per_row = rows.flatten(1)
    assert torch.equal(per_row.amin(dim=1), per_row.amax(dim=1))
    assert sorted(set(per_row[:, 0].tolist())) == pytest.approx([0, 1 / 0.75])
    assert (per_row[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_drop_path_of_rate_one_drops_everything() -> None:
    assert DropPath(1.0).train()(torch.ones(4, 2, 3)).count_nonzero() == 0


def test_drop_path_drops_windows_and_not_files() -> None:
    layer = make_reference(stochastic_dropout=0.5).transformer[1].train()
    torch.manual_seed(0)
    hidden = torch.rand(1, 40, 8)  # ten windows of one file
    kept_as_it_was = torch.roll((layer(hidden) == hidden).all(dim=2), -2, dims=1).reshape(10, 4)
    assert torch.equal(kept_as_it_was.any(dim=1), kept_as_it_was.all(dim=1))
    assert 0 < kept_as_it_was.all(dim=1).sum() < 10


def test_in_evaluation_no_dropout_is_left() -> None:
    ids = make_ids(30)
    plain = make_reference()(ids)
    assert torch.equal(make_reference(dropout=0.5)(ids), plain)
    assert torch.equal(make_reference(stochastic_dropout=0.5)(ids), plain)


@pytest.mark.parametrize("num_layers", [1, 2, 12, 32])
@pytest.mark.parametrize("highest", [0.0, 0.0125, 0.1, 0.2, 0.0565, 1.0])
def test_drop_path_rates_are_numpys(highest: float, num_layers: int) -> None:
    numpys = [float(round(rate, 3)) for rate in np.linspace(0, highest, num_layers)]
    assert drop_path_rates(highest, num_layers) == numpys


# --- one stage, other dtypes, loading ---


def test_a_stage_alone_does_what_it_does_in_the_whole() -> None:
    model, hidden = make_reference(), make_ids(30, 17)
    for name, output in model.stages(hidden).items():
        assert torch.equal(model.run_stage(name, hidden), output), name
        hidden = output


def test_stages_one_by_one_in_float64_are_the_whole_in_float64() -> None:
    model, exact = make_reference(sinusoidal_pos_emb=True), make_reference(sinusoidal_pos_emb=True).double()
    hidden = ids = make_ids(30, 17)
    before = model(ids)
    for name in model.stage_functions():
        with model.in_float64(name) as stage:
            hidden = stage(hidden)
    assert hidden.dtype == torch.float64
    assert torch.equal(hidden, exact(ids))
    assert torch.equal(model(ids), before)


def test_an_unknown_stage_is_a_key_error() -> None:
    with pytest.raises(KeyError, match=r"transformer\.2"):
        make_reference().run_stage("transformer.2", torch.rand(1, 4, 8))


def test_in_float64_attention_is_float64_throughout() -> None:
    attention = make_reference().transformer[0].pre_norm_mha[1].double()
    hidden = torch.rand(5, 4, 8, dtype=torch.float64)
    qkv = attention.qkv_proj(hidden).reshape(5, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
    expected = attention.out_proj(F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(5, 4, 8))
    torch.testing.assert_close(attention(hidden), expected, rtol=1e-13, atol=1e-13)  # float32: 1e-8


def test_in_float64_the_fp32_norm_is_float64_throughout() -> None:
    hidden = torch.rand(2, 7, 8, dtype=torch.float64)
    norm = CoreNetLayerNormFP32(8).double()
    torch.testing.assert_close(norm(hidden), F.layer_norm(hidden, [8]), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("changes", [{}, {"norm_layer": "layer_norm_fp32"}, {"sinusoidal_pos_emb": True}])
def test_float64_differs_from_float32_by_rounding_alone(changes: dict[str, Any]) -> None:
    model, ids = make_reference(**changes), make_ids(30, 17)
    expected = model(ids).double()
    logits = model.double()(ids)
    assert logits.dtype == torch.float64
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_float32_weights_are_taken_over_without_a_copy() -> None:
    state = make_reference().state_dict()
    model = CoreNetByteFormer.from_state_dict(state, **make_architecture())
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == {
        name: tensor.data_ptr() for name, tensor in state.items()
    }
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_weights_of_lower_precision_are_computed_with_in_float32() -> None:
    halves = {name: tensor.half() for name, tensor in make_reference().state_dict().items()}
    model = CoreNetByteFormer.from_state_dict(halves, **make_architecture())
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("classifier.bias", None, "Missing key.*classifier.bias"),
        ("head.bias", torch.zeros(3), "Unexpected key.*head.bias"),
        ("classifier.bias", torch.zeros(4), "size mismatch for classifier.bias"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(name: str, tensor: torch.Tensor | None, message: str) -> None:
    state = {key: value for key, value in make_reference().state_dict().items() if key != name}
    state |= {} if tensor is None else {name: tensor}
    with pytest.raises(RuntimeError, match=message):
        CoreNetByteFormer.from_state_dict(state, **make_architecture())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_sizes": [4]}, "zip"),
        ({"window_shifts": [0, 2, 0]}, "zip"),
        ({"downsample": [True]}, "zip"),
        ({"norm_layer": "batch_norm"}, "norm_layer is 'batch_norm'"),
        ({"activation": "mish"}, "activation is 'mish'"),
        ({"dropout": 0.1, "stochastic_dropout": 0.1}, "cannot both be on"),
    ],
)
def test_options_it_cannot_express_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_reference(**changes)


def test_names_of_activations_and_norms_are_read_in_any_case() -> None:
    assert isinstance(make_activation("GELU", 0.1), torch.nn.GELU)
    assert isinstance(make_reference(norm_layer="Layer_Norm_FP32").post_transformer_norm, CoreNetLayerNormFP32)


@pytest.mark.parametrize("length", [3, 64 * 2 + 4])
def test_too_few_bytes_and_too_many_tokens_are_torchs_errors(length: int) -> None:
    with pytest.raises(RuntimeError):
        make_reference()(make_ids(length))
