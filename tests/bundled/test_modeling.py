"""The folder's model against CoreNet's own numbers, and what it takes and returns."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F

from byteformer_convert.bundled.modeling_byteformer import ByteFormerForAudioClassification, ByteFormerModel
from tests.tolerances import Tolerance, tolerance_of
from tests.worlds import corenet_twin, golden_model, make_config, make_ids, make_model

if TYPE_CHECKING:
    from tests.golden_cases import GoldenCase, Stage


@dataclass(frozen=True, slots=True)
class Run:
    """A golden case, its model, and what comes out."""

    case: GoldenCase
    model: Any
    output: Any

    @property
    def tolerance(self) -> Tolerance:
        return tolerance_of(self.case.name)


@pytest.fixture(scope="module")
def run(golden_case: GoldenCase) -> Run:
    model = golden_model(golden_case)
    with torch.no_grad():
        return Run(golden_case, model, model(golden_case.ids(), output_hidden_states=True))


# --- against CoreNet ---


def test_logits_are_corenets(run: Run) -> None:
    torch.testing.assert_close(run.output.logits, run.case.logits, rtol=0, atol=run.tolerance.logits)


def test_logits_do_not_depend_on_what_else_is_asked_for(run: Run) -> None:
    with torch.no_grad():
        plain = run.model(run.case.ids())
    torch.testing.assert_close(plain.logits, run.case.logits, rtol=0, atol=run.tolerance.logits)
    assert plain.hidden_states is plain.attentions is plain.loss is None


def test_hidden_states_are_corenets_stages(run: Run) -> None:
    goldens = layer_outputs(run.case.stages)
    assert len(run.output.hidden_states) == len(goldens) == run.model.config.num_hidden_layers + 1
    for golden, ours in zip(goldens, run.output.hidden_states, strict=True):
        assert tuple(ours.shape) == golden.shape, golden.name
        assert ours.mean().item() == pytest.approx(golden.mean, abs=run.tolerance.mean), golden.name
        assert ours.std().item() == pytest.approx(golden.std, abs=run.tolerance.std), golden.name
        assert ours.flatten()[:6].tolist() == pytest.approx(golden.first, abs=run.tolerance.first), golden.name


def layer_outputs(stages: tuple[Stage, ...]) -> list[Stage]:
    """The embeddings, and after each layer its merge's output where it has one, else its own."""
    by_place = {stage.name.split(".")[-1].removeprefix("downsample_"): stage for stage in stages[:-1]}
    return list(by_place.values())


def test_the_callers_ids_stay_as_they_are(run: Run) -> None:
    ids = run.case.ids()
    with torch.no_grad():
        run.model(ids)
    assert torch.equal(ids, run.case.ids())


@pytest.mark.parametrize("seed", range(12))
def test_any_small_world_computes_what_the_reference_computes(seed: int) -> None:
    model = make_model(**random_world(seed))
    lengths = torch.randint(8, 90, (3,), generator=torch.Generator().manual_seed(seed)).tolist()
    ids = make_ids(*lengths)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, corenet_twin(model)(ids), rtol=1e-4, atol=1e-4)


def random_world(seed: int) -> dict[str, Any]:
    """Options of a random small ByteFormer, with windows, shifts and merges of each layer's own."""
    generator = torch.Generator().manual_seed(seed)

    def pick(*values: Any, count: int = 1) -> list[Any]:
        return [values[index] for index in torch.randint(len(values), (count,), generator=generator).tolist()]

    layers = pick(1, 2, 3, 4)[0]
    return {
        "num_hidden_layers": layers,
        "hidden_size": pick(4, 6, 12)[0],
        "num_attention_heads": pick(1, 2)[0],
        "vocab_size": pick(257, 256, 300)[0],
        "conv_kernel_size": pick(2, 3, 4, 5, 8)[0],
        "max_position_embeddings": 100,
        "window_sizes": pick(1, 3, 5, 8, 100, count=layers),
        "window_shifts": pick(0, 1, 2, 64, -3, count=layers),
        "downsample": pick(True, False, count=layers),
        "hidden_act": pick("gelu", "leaky_relu", "prelu", "tanh", "swish")[0],
        "position_embedding_type": pick("learned", "sinusoidal")[0],
        "layer_norm_fp32": pick(True, False)[0],
    }


# --- what it takes ---


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_padding_may_be_written_in_three_ways(dtype: torch.dtype) -> None:
    model, ids = make_model(), make_ids(30, 17).to(dtype)
    as_row, as_mask = ids.masked_fill(ids == -1, 256), ids.masked_fill(ids == -1, 7)
    expected = model(ids)
    for output in (model(as_row), model(as_mask, attention_mask=(ids != -1).long())):
        assert torch.equal(output.logits, expected.logits)
    masks = [model.byteformer(*inputs).token_mask for inputs in ((ids,), (as_row,), (as_mask, ids != -1))]
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


def test_bytes_may_come_as_uint8() -> None:
    model, ids = make_model(), make_ids(30, 30)
    assert torch.equal(model(ids.to(torch.uint8)).logits, model(ids).logits)


@pytest.mark.parametrize(
    ("bytes_", "message"),
    [
        (3, r"The input is 3 bytes long; this model's byte convolution needs at least 4 bytes \(pad with -1"),
        (132, r"The input is 132 bytes long; this model takes at most 131 bytes \(its position table has 64 rows, the "
              r"input has 65 tokens\)"),
    ],
)  # fmt: skip
def test_too_short_and_too_long_inputs_are_told_in_bytes(bytes_: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model()(make_ids(bytes_))


@pytest.mark.parametrize("bytes_", [4, 131])
def test_the_shortest_and_the_longest_input_run(bytes_: int) -> None:
    assert make_model()(make_ids(bytes_)).logits.isfinite().all()


def test_a_position_table_of_one_row_is_added_to_every_token() -> None:
    model, ids = make_model(max_position_embeddings=1), make_ids(30)
    torch.testing.assert_close(model(ids).logits, corenet_twin(model)(ids))


@pytest.mark.parametrize("inputs", [{}, {"inputs_embeds": torch.zeros(1, 30, 8)}])
def test_it_takes_bytes_and_nothing_else(inputs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ByteFormer takes input_ids"):
        make_model().byteformer(**inputs)


# --- what it returns ---


def test_the_backbone_returns_the_last_norm_and_its_mean() -> None:
    model, ids = make_model(), make_ids(30, 17)
    output = model.byteformer(ids)
    stages = corenet_twin(model).stages(ids)
    torch.testing.assert_close(output.last_hidden_state, stages["post_transformer_norm"])
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state.mean(dim=1))
    torch.testing.assert_close(model.classifier(output.pooler_output), model(ids).logits)


@pytest.mark.parametrize("switches", [{}, {"mask_padding": True}])
def test_the_token_mask_has_a_one_for_each_token_that_is_made_of_file_bytes(switches: dict[str, Any]) -> None:
    # kernel 4, stride 2: 30 bytes give 14 tokens, 17 give 7 and 3 none; then one merge
    output = make_model(**switches).byteformer(make_ids(30, 17, 3))
    assert output.token_mask.shape == output.last_hidden_state.shape[:2] == (3, 7)
    assert output.token_mask.tolist() == [[1] * 7, [1] * 4 + [0] * 3, [0] * 7]
    assert output.token_mask.dtype == torch.int64


def test_the_token_mask_counts_byte_255_where_padding_has_no_row_of_its_own() -> None:
    ids = torch.full((2, 30), 255)
    ids[1, 17:] = -1
    output = make_model(vocab_size=256).byteformer(ids)
    assert output.token_mask.sum(dim=1).tolist() == [7, 4]


def test_the_loss_is_the_cross_entropy_of_the_logits() -> None:
    model, ids, labels = make_model(), make_ids(30, 17), torch.tensor([2, 0])
    output = model(ids, labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))


def test_trainers_count_of_items_divides_the_loss() -> None:
    model, ids, labels = make_model(), make_ids(30, 17), torch.tensor([2, 0])
    output = model(ids, labels=labels, num_items_in_batch=torch.tensor(8))
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels, reduction="sum") / 8)


def test_a_tuple_has_loss_logits_hidden_states_and_attentions_in_this_order() -> None:
    model, ids, labels = make_model(), make_ids(30, 17), torch.tensor([2, 0])
    asked = {"labels": labels, "output_hidden_states": True, "output_attentions": True}
    output = model(ids, **asked)
    loss, logits, hidden_states, attentions = model(ids, **asked, return_dict=False)
    assert list(output) == ["loss", "logits", "hidden_states", "attentions"]
    assert (loss, len(hidden_states), len(attentions)) == (output.loss, 3, 2)
    assert torch.equal(logits, output.logits)
    assert len(model(ids, return_dict=False)) == 1


def test_the_backbones_tuple_ends_with_the_token_mask() -> None:
    backbone, ids = make_model().byteformer, make_ids(30, 17)
    last, pooled, mask = backbone(ids, return_dict=False)
    assert (last.shape, pooled.shape, mask.shape) == ((2, 7, 8), (2, 8), (2, 7))


def test_config_may_ask_for_hidden_states() -> None:
    assert len(make_model(output_hidden_states=True)(make_ids(30)).hidden_states) == 3


def test_all_classes_are_returned() -> None:
    assert make_model(num_labels=1000)(make_ids(30)).logits.shape == (1, 1000)


def test_images_and_audio_differ_in_nothing_but_their_names() -> None:
    image, ids = make_model(), make_ids(30)
    audio = ByteFormerForAudioClassification(make_config()).eval()
    audio.load_state_dict(image.state_dict())
    assert torch.equal(audio(ids).logits, image(ids).logits)
    assert audio(ids, labels=torch.tensor([1])).loss == image(ids, labels=torch.tensor([1])).loss


# --- precision, copies ---


# One rounding of a value near 1 is half an eps; 2 layers round some 20 times one after the other, and the errors add up
# like a random walk, sqrt(20) * eps / 2, in values of about the size of the logits. Seen: half of it.
ROUNDINGS = 20**0.5 / 2


@pytest.mark.parametrize("switches", [{}, {"mask_padding": True, "mask_shifted_windows": True}])
@pytest.mark.parametrize("fp32_norm", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_and_stays_near(dtype: torch.dtype, fp32_norm: bool, switches: dict[str, Any]) -> None:
    ids = make_ids(34, 30, 17)  # 16 tokens before the merge: the norm of the longest row runs over axis 1
    model = make_model(layer_norm_fp32=fp32_norm, **switches)
    expected = model(ids).logits
    output = model.to(dtype)(ids, output_attentions=True, output_hidden_states=True)
    returned = [output.logits, *output.hidden_states, *output.attentions]
    assert {tensor.dtype for tensor in returned} == {dtype}
    bound = 2 * ROUNDINGS * torch.finfo(dtype).eps * expected.abs().max().item()
    torch.testing.assert_close(output.logits.float(), expected, rtol=0, atol=bound)


def test_it_runs_under_autocast() -> None:
    model, ids = make_model(mask_padding=True), make_ids(34, 17)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids).logits
    torch.testing.assert_close(logits.float(), model(ids).logits, rtol=0, atol=0.1)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_computes_the_same_and_shares_nothing(duplicate: Any) -> None:
    model, ids = make_model(position_embedding_type="sinusoidal"), make_ids(30)
    expected = model(ids).logits
    twin = duplicate(model)
    assert torch.equal(twin(ids).logits, expected)
    with torch.no_grad():
        model.classifier.weight.zero_()
    assert torch.equal(twin(ids).logits, expected)


def test_an_output_survives_pickling() -> None:
    output = make_model().byteformer(make_ids(30))
    assert torch.equal(pickle.loads(pickle.dumps(output)).token_mask, output.token_mask)


def test_the_byte_table_is_the_input_embedding() -> None:
    model = make_model()
    assert model.get_input_embeddings() is model.byteformer.embeddings.byte_embeddings
    table = torch.nn.Embedding(257, 8, padding_idx=256)
    ByteFormerModel.set_input_embeddings(model.byteformer, table)
    assert model.get_input_embeddings() is table
