"""The pipeline, step by step, with the fresh process that the command uses."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from byteformer_convert.conversion import Request, convert
from byteformer_convert.errors import (
    CheckpointError,
    FolderError,
    MappingError,
    OptionsError,
    ParityError,
    UsageError,
)
from byteformer_convert.mapping import weights as mapping
from byteformer_convert.verification import verify
from tests.small_world import changed_weights, contents, weights_for, write_world, write_yaml

if TYPE_CHECKING:
    from byteformer_convert.parity.fresh_process import FreshProcess

World = tuple[Path, Path]


@pytest.fixture(scope="module")
def converted(small_world: World, fresh_process: FreshProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was converted with parity; copy it before changing it."""
    output = tmp_path_factory.mktemp("converted") / "folder"
    with pytest.MonkeyPatch.context() as patch:
        from tests.small_world import WarmProcess

        patch.setattr("byteformer_convert.checking.fresh_process", lambda: WarmProcess(fresh_process))
        convert(Request(config=small_world[0], weights=small_world[1], output=output))
    return output


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    """A copy of the converted folder, to plant faults in."""
    return Path(shutil.copytree(converted, tmp_path / "folder"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def swap_layers(tensors: dict[str, torch.Tensor], first: str, second: str) -> None:
    for name in [name for name in tensors if first in name]:
        other = name.replace(first, second)
        tensors[name], tensors[other] = tensors[other], tensors[name]


# --- what goes in ---


def test_a_folder_holds_the_files_and_the_report_says_what_they_are(converted: Path, small_world: World) -> None:
    report = json.loads((converted / "conversion_report.json").read_text())
    assert sorted(path.name for path in converted.iterdir()) == [
        "README.md",
        "byte_batch_byteformer.py",
        "config.json",
        "configuration_byteformer.py",
        "conversion_report.json",
        "image_processing_byteformer.py",
        "inference_byteformer.py",
        "model.safetensors",
        "modeling_byteformer.py",
        "preprocessor_config.json",
    ]
    assert {file["name"] for file in report["files"]} == {p.name for p in converted.iterdir()} - {
        "conversion_report.json"
    }
    assert report["schema_version"] == 1
    assert [source["name"] for source in report["sources"]] == ["c.yaml", "w.pt"]
    assert report["sources"][1]["size"] == small_world[1].stat().st_size
    assert report["parity"]["verdict"] == "passed"
    assert report["parity"]["weights"] == {"tensors": 169, "bit_for_bit": True, "different": []}
    assert all(case["passed"] and case["max_difference"] <= 2e-5 for case in report["parity"]["cases"])
    assert report["options"]["model.classification.n_classes"] == 5
    assert report["switches"] == {"mask_padding": False, "mask_shifted_windows": False, "last_axis_layer_norm": False}


def training_checkpoint(state: dict[str, torch.Tensor], ema: dict[str, torch.Tensor] | None) -> dict[str, Any]:
    content = {"iterations": 90, "epoch": 7, "model_state_dict": state, "best_metric": np.float64(0.5)}
    return content | ({} if ema is None else {"ema_state_dict": ema})


@pytest.mark.parametrize(
    ("key", "seed", "sentence"),
    [
        ("auto", 2, "the EMA weights of a training checkpoint (epoch 7); the file also holds the model weights"),
        ("ema", 2, "the EMA weights of a training checkpoint (epoch 7); the file also holds the model weights"),
        ("model", 1, "the model weights of a training checkpoint (epoch 7); the file also holds the EMA weights"),
    ],
)
def test_a_training_checkpoints_weights_are_chosen_and_the_choice_is_said(
    small_world: World, tmp_path: Path, key: Any, seed: int, sentence: str
) -> None:
    config = small_world[0]
    path = tmp_path / "training_checkpoint_last.pt"
    torch.save(training_checkpoint(weights_for(config, 1), weights_for(config, 2)), path)
    result = convert(Request(config=config, weights=path, output=tmp_path / "out", weights_key=key, skip_parity=True))
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(written["classifier.weight"], weights_for(config, seed)["classifier.weight"])
    assert result.notes[0] == f"Took {sentence}."
    assert result.report["checkpoint"]["choice"] == sentence
    assert result.report["checkpoint"]["training"] == {"epoch": 7, "iterations": 90, "best_metric": 0.5}
    assert sentence in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("form", ["module", "legacy", "float16", "bfloat16"])
def test_every_form_of_a_checkpoint_converts_with_parity(small_world: World, tmp_path: Path, form: str) -> None:
    config, state = small_world[0], weights_for(small_world[0], 3)
    if form == "module":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    elif form != "legacy":
        state = {name: tensor.to(getattr(torch, form)) for name, tensor in state.items()}
    path = tmp_path / "w.pt"
    torch.save(state, path, _use_new_zipfile_serialization=form != "legacy")
    result = convert(Request(config=config, weights=path, output=tmp_path / "out"))
    assert result.parity.verdict == "passed"
    assert result.report["checkpoint"]["container"] == ("legacy" if form == "legacy" else "zip")
    assert result.report["checkpoint"]["prefix"] == ("module." if form == "module" else "")
    kept = form if form in ("float16", "bfloat16") else "float32"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == kept
    assert (result.parity.dtype_effect is not None) == (kept != "float32")


@pytest.mark.usefixtures("warm")
def test_a_folder_of_corenets_adapter_converts_without_a_yaml(small_world: World, tmp_path: Path) -> None:
    from byteformer_convert.corenet.options import load_options

    options = load_options(small_world[0])
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "config.json").write_text(json.dumps(dict(options.flat) | {"transformers_version": "4.36.2"}))
    state = {f"model.{name}": tensor.contiguous() for name, tensor in weights_for(small_world[0]).items()}
    save_file(state, adapter / "model.safetensors", metadata={"format": "pt"})
    result = convert(Request(weights=adapter, output=tmp_path / "out"))
    assert result.parity.verdict == "passed"
    assert result.report["checkpoint"]["kind"] == "adapter folder"
    assert result.report["checkpoint"]["prefix"] == "model."
    assert verify(tmp_path / "out", adapter).passed


def test_an_audio_yaml_makes_an_audio_folder(warm: FreshProcess, tmp_path: Path) -> None:
    config, weights = write_world(tmp_path, task="audio", n_classes=12)
    convert(Request(config=config, weights=weights, output=tmp_path / "out"))
    content = json.loads((tmp_path / "out" / "config.json").read_text())
    assert content["architectures"] == ["ByteFormerForAudioClassification"]
    assert (tmp_path / "out" / "feature_extraction_byteformer.py").is_file()


def test_without_a_yaml_a_checkpoint_file_is_a_usage_error(small_world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--config is missing"):
        convert(Request(weights=small_world[1], output=tmp_path / "out"))
    with pytest.raises(UsageError, match="--config is missing"):
        verify(tmp_path, small_world[1])


@pytest.mark.parametrize("atol", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_above_zero(small_world: World, tmp_path: Path, atol: float) -> None:
    with pytest.raises(UsageError, match="--atol"):
        convert(Request(config=small_world[0], weights=small_world[1], output=tmp_path / "out", atol=atol))


# --- planted faults in the input ---


def grown(name: str, axis: int, state: dict[str, torch.Tensor]) -> None:
    state[name] = torch.cat([state[name], state[name].narrow(axis, 0, 1)], dim=axis)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("transformer.3.pre_norm_ffn.4.bias"), "not in the checkpoint"),
        (lambda s: s.update({"transformer.3.extra": torch.zeros(2)}), "transformer.3"),
        (lambda s: grown("classifier.weight", 0, s), "the checkpoint has 6 classes, model.classification.n_classes"),
        (lambda s: grown("token_reduction_net.weight", 2, s), "kernel is 5, model.classification.byteformer.conv_"),
        (lambda s: grown("pos_embed.pos_embed.pos_embed", 2, s), "61 positions, model.classification.byteformer.max_"),
        (lambda s: grown("embeddings.weight", 0, s), "258 byte values, model.classification.byteformer.vocab_size"),
    ],
    ids=["missing", "unknown", "classes", "kernel", "positions", "vocabulary"],
)
def test_a_checkpoint_that_does_not_fit_names_the_cause(
    small_world: World, tmp_path: Path, change: Any, message: str
) -> None:
    weights = changed_weights(small_world[1], tmp_path / "w.pt", change)
    with pytest.raises(MappingError) as caught:
        convert(Request(config=small_world[0], weights=weights, output=tmp_path / "out", skip_parity=True))
    assert message in str(caught.value)
    assert caught.value.mismatches
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def test_a_window_list_of_the_wrong_length_names_the_option(small_world: World, tmp_path: Path) -> None:
    config = write_yaml(tmp_path / "c.yaml", window_sizes=[32, 64])
    with pytest.raises(OptionsError, match=r"window_sizes has 2 values"):
        convert(Request(config=config, weights=small_world[1], output=tmp_path / "out"))


def test_a_yaml_that_asks_for_python_objects_is_refused(small_world: World, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(small_world[0].read_text() + f"evil: !!python/object/apply:os.mkdir ['{tmp_path}/ran']\n")
    with pytest.raises(OptionsError, match="python"):
        convert(Request(config=config, weights=small_world[1], output=tmp_path / "out"))
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_does_not_run(small_world: World, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": Evil(tmp_path / "ran")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="refused"):
        convert(Request(config=small_world[0], weights=path, output=tmp_path / "out"))
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()  # it is as dangerous as it claims


def test_half_a_file_is_refused(small_world: World, tmp_path: Path) -> None:
    content = small_world[1].read_bytes()
    (tmp_path / "w.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="cut off"):
        convert(Request(config=small_world[0], weights=tmp_path / "w.pt", output=tmp_path / "out"))


# --- a faulty conversion leaves nothing ---

Plant = tuple[str, mapping.Rearrangement]


def _faulty(source: str, rearrangement: mapping.Rearrangement) -> tuple[mapping.Rule, ...]:
    changed = tuple(
        replace(rule, rearrangement=rearrangement) if rule.source == source else rule for rule in mapping.RULES
    )
    assert changed != mapping.RULES
    return changed


# Each maps back to what it was, so that the weights' level cannot see it.
REVERSED = mapping.Rearrangement(
    "reversed", lambda tensor: (tensor.flip(0).contiguous(),), lambda parts: parts[0].flip(0)
)
INTERLEAVED = mapping.Rearrangement("as it is", lambda tensor: (tensor,), lambda parts: parts[0])
SPLIT_KQV = mapping.Rearrangement(
    "split k, q, v", lambda t: tuple(t.chunk(3)[i] for i in (1, 0, 2)), lambda p: torch.cat([p[1], p[0], p[2]])
)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("source", "rearrangement", "stage"),
    [
        ("downsamplers.downsample_{i}.reduction.weight", INTERLEAVED, "downsamplers.downsample_0"),
        ("transformer.{i}.pre_norm_mha.1.qkv_proj.{p}", SPLIT_KQV, "transformer.0"),
        ("post_transformer_norm.{p}", REVERSED, "post_transformer_norm"),
        ("classifier.{p}", REVERSED, "logits"),
    ],
)
def test_a_faulty_mapping_is_caught_with_its_stage_and_leaves_no_folder(
    small_world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    rearrangement: mapping.Rearrangement,
    stage: str,
) -> None:
    monkeypatch.setattr(mapping, "RULES", _faulty(source, rearrangement))
    with pytest.raises(ParityError, match=f"first stage that leaves its tolerance is {stage}:") as caught:
        convert(Request(config=small_world[0], weights=small_world[1], output=tmp_path / "out"))
    assert caught.value.report.weights.passed
    assert caught.value.report.first_stage_out().stage == stage
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("warm")
def test_a_fault_is_caught_where_float32_is_too_uncertain_for_logits_to_tell(tmp_path: Path) -> None:
    # Windows of embed-dim tokens: the norms run over windows of zeros, and 0.1 is allowed of a padded batch's logits.
    config, weights = write_world(tmp_path / "in", window_sizes=[192], max_num_tokens=300)
    result = convert(Request(config=config, weights=weights, output=tmp_path / "out"))
    assert result.parity.verdict == "passed"
    assert max(case.tolerance for case in result.parity.cases) > 0.05
    assert len(result.parity.stages) == 21
    assert all(stage.tolerance < 1e-2 for stage in result.parity.stages)

    edit_config(tmp_path / "out", layer_norm_eps=2e-5)
    faulty = verify(tmp_path / "out", weights, config)
    assert faulty.parity.verdict == "failed"
    assert faulty.parity.first_stage_out() is not None


# --- shapes of models ---


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    "changes",
    [
        {"max_num_tokens": 1},
        {"max_num_tokens": 2},
        {"max_num_tokens": 8},
        {"vocab_size": 256},
        {"vocab_size": 20},
        {"conv_kernel_size": 2},
        {"conv_kernel_size": 32},
        {"sinusoidal_pos_emb": True},
        {"activation": "prelu"},
        {"norm_layer": "layer_norm_fp32"},
        {"downsample": [False] * 12},
        {"window_sizes": [7]},
    ],
    ids=str,
)
def test_unusual_models_convert_with_parity(tmp_path: Path, changes: dict[str, Any]) -> None:
    config, weights = write_world(tmp_path / "in", **changes)
    result = convert(Request(config=config, weights=weights, output=tmp_path / "out"))
    assert result.parity.verdict == "passed"
    assert result.parity.cases


@pytest.mark.usefixtures("warm")
def test_a_corenet_trained_checkpoint_has_corenets_accuracy(
    shared: Path, tmp_path: Path, fresh_process: FreshProcess
) -> None:
    trained = shared / "trained"
    weights, config = trained / "digits_fhwc_k4_w32.pt", trained / "digits_fhwc_k4_w32.yaml"
    result = convert(Request(config=config, weights=weights, output=tmp_path / "out"))
    assert result.parity.verdict == "passed"
    data = np.load(trained / "digits_test.npz")
    rows = torch.from_numpy(data["ids"]).long()
    batches = {}
    for start in range(0, len(rows), 40):
        batch = rows[start : start + 40]
        longest = int((batch != -1).sum(1).max())
        batches[f"{start:03}"] = batch[:, :longest].contiguous()
    wait = fresh_process.start_logits(tmp_path / "out", batches, auto_class="AutoModelForImageClassification")
    logits = torch.cat([tensor for _, tensor in sorted(wait().items())])
    assert (logits[:40] - torch.from_numpy(data["logits40"])).abs().max() < 2e-5
    accuracy = (logits.argmax(-1) == torch.from_numpy(data["labels"])).double().mean().item()
    assert accuracy == pytest.approx(0.95)
    assert accuracy == pytest.approx(float(data["acc"]))


# --- the same input, the same bytes ---


@pytest.mark.usefixtures("warm")
def test_the_same_input_gives_the_same_bytes(small_world: World, converted: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        convert(Request(config=small_world[0], weights=small_world[1], output=tmp_path / "another name"))
    finally:
        torch.set_num_threads(threads)
    assert contents(tmp_path / "another name") == contents(converted)


# --- dtype and shards ---


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_folder_in_half_precision_says_what_it_does_to_logits(small_world: World, tmp_path: Path, dtype: str) -> None:
    config, weights = small_world
    result = convert(Request(config=config, weights=weights, output=tmp_path / "out", dtype=dtype))
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {f"torch.{dtype}"}
    assert result.parity.dtype == dtype
    assert result.parity.dtype_effect is not None
    assert 1e-5 < result.parity.dtype_effect < 1
    assert verify(tmp_path / "out", weights, config).passed
    edit_config(tmp_path / "out", dtype="float32")
    assert not verify(tmp_path / "out", weights, config).passed


@pytest.mark.parametrize(("dtype", "value"), [("float16", 7e4), ("bfloat16", 3.4e38), ("auto", 1e39)])
def test_a_value_that_the_dtype_cannot_hold_is_refused(
    small_world: World, tmp_path: Path, dtype: str, value: float
) -> None:
    """Also in the last position, which no input of the parity check reaches."""
    config, weights = small_world
    state = torch.load(weights)
    state["pos_embed.pos_embed.pos_embed"] = state["pos_embed.pos_embed.pos_embed"].double()
    state["pos_embed.pos_embed.pos_embed"][0, 0, -1, -1] = value
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"beyond .*, the largest in .*: pos_embed\.pos_embed\."):
        convert(Request(config=config, weights=tmp_path / "w.pt", output=tmp_path / "out", dtype=dtype))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("warm")
def test_shards_load_and_verify(small_world: World, tmp_path: Path) -> None:
    config, weights = small_world
    result = convert(Request(config=config, weights=weights, output=tmp_path / "out", max_shard_size="5MB"))
    shards = [file for file in result.files if file.name.startswith("model-")]
    assert len(shards) == 5
    assert all(shard.size < 5_100_000 for shard in shards)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert result.parity.verdict == "passed"
    assert verify(tmp_path / "out", weights, config).passed


@pytest.mark.parametrize("size", ["5", "MB", "0MB", "-1MB", "1.5GB", "five MB"])
def test_a_shard_size_is_a_number_with_a_unit(small_world: World, tmp_path: Path, size: str) -> None:
    with pytest.raises(UsageError, match="--max-shard-size"):
        convert(Request(config=small_world[0], weights=small_world[1], output=tmp_path / "o", max_shard_size=size))


# --- verify ---


@pytest.mark.usefixtures("warm")
def test_verify_passes_a_converted_folder(small_world: World, converted: Path) -> None:
    result = verify(converted, small_world[1], small_world[0])
    assert result.passed
    assert result.failure is None
    assert result.changed_code == ()


@pytest.mark.usefixtures("warm")
def test_verify_sees_one_ulp(small_world: World, folder: Path) -> None:
    def nudge(tensors: dict[str, torch.Tensor]) -> None:
        weight = tensors["byteformer.layers.4.mlp.fc1.weight"]
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(torch.inf))

    edit_tensors(folder, nudge)
    result = verify(folder, small_world[1], small_world[0])
    assert result.failure == "weights differ from the checkpoint: transformer.4.pre_norm_ffn.1.weight in 1 entries"
    assert all(case.passed for case in result.parity.cases)


@pytest.mark.usefixtures("warm")
def test_verify_sees_a_zero_with_another_sign(small_world: World, folder: Path) -> None:
    edit_tensors(folder, lambda tensors: tensors["byteformer.embeddings.byte_embeddings.weight"][-1].mul_(-1))
    result = verify(folder, small_world[1], small_world[0])
    assert result.failure == "weights differ from the checkpoint: embeddings.weight in 192 entries"


@pytest.mark.usefixtures("warm")
def test_verify_sees_two_layers_swapped(small_world: World, folder: Path) -> None:
    edit_tensors(folder, lambda tensors: swap_layers(tensors, "layers.2.mlp.", "layers.6.mlp."))
    result = verify(folder, small_world[1], small_world[0])
    assert [name for name, _ in result.parity.weights.different] == [
        f"transformer.{layer}.pre_norm_ffn.{at}.{part}"
        for layer in (2, 6)
        for at in (1, 4)
        for part in ("weight", "bias")
    ]
    assert result.parity.first_stage_out().stage == "transformer.2"


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("change", "sentence", "stage"),
    [
        ({"hidden_act": "relu"}, "config.json says hidden_act 'relu', the source asks for 'gelu'", "transformer.0"),
        (
            {"mask_padding": True},
            "config.json says mask_padding True, the source asks for False",
            "transformer.0",
        ),
        (
            {"window_sizes": [16] * 12},
            f"config.json says window_sizes {[16] * 12}, the source asks for {[32] * 12}",
            "transformer.0",
        ),
    ],
)
def test_verify_names_the_config_field_and_the_first_stage_out(
    small_world: World, folder: Path, change: dict[str, Any], sentence: str, stage: str
) -> None:
    edit_config(folder, **change)
    result = verify(folder, small_world[1], small_world[0])
    assert result.config_differences == (sentence,)
    assert result.parity.first_stage_out().stage == stage
    assert result.failure.startswith(f"{sentence}; logits differ by ")
    assert f"the first stage that leaves its tolerance is {stage}:" in result.failure


@pytest.mark.usefixtures("warm")
def test_verify_fails_on_a_switch_that_no_input_meets(small_world: World, folder: Path) -> None:
    edit_config(folder, last_axis_layer_norm=True)  # 192 tokens never come together in 60 positions
    result = verify(folder, small_world[1], small_world[0])
    assert result.parity.verdict == "passed"
    assert not result.passed
    assert result.failure == "config.json says last_axis_layer_norm True, the source asks for False"


@pytest.mark.usefixtures("warm")
def test_verify_takes_what_a_config_leaves_out_for_its_default(small_world: World, folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name in ("hidden_size", "mask_padding", "layer_norm_eps", "hidden_act"):
        del config[name]  # as transformers does when it saves
    path.write_text(json.dumps(config))
    assert verify(folder, small_world[1], small_world[0]).passed
    del config["conv_kernel_size"]  # the default is 16, the source says 4
    path.write_text(json.dumps(config))
    with pytest.raises(ParityError, match="conv_kernel_size 16, the weights are of 4"):
        verify(folder, small_world[1], small_world[0])


@pytest.mark.usefixtures("warm")
def test_verify_says_why_a_folder_cannot_be_loaded(small_world: World, folder: Path) -> None:
    edit_config(folder, hidden_act="gelu_new")
    with pytest.raises(ParityError, match="hidden_act is 'gelu_new'; ByteFormer knows gelu"):
        verify(folder, small_world[1], small_world[0])


@pytest.mark.slow
def test_verify_runs_changed_code_only_where_it_is_trusted(small_world: World, folder: Path) -> None:
    code = folder / "modeling_byteformer.py"
    code.write_text(code.read_text() + "\nraise RuntimeError('the code ran')\n")
    with pytest.raises(FolderError, match=r"modeling_byteformer\.py") as caught:
        verify(folder, small_world[1], small_world[0])
    assert caught.value.hint == "Look at it, then give --trust-remote-code."
    with pytest.raises(ParityError, match="RuntimeError: the code ran"):
        verify(folder, small_world[1], small_world[0], trust_remote_code=True)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model_type": "vit"}'])
def test_verify_refuses_a_folder_of_somebody_else(small_world: World, folder: Path, content: str | None) -> None:
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(FolderError, match=r"config\.json"):
        verify(folder, small_world[1], small_world[0])


@pytest.mark.usefixtures("warm")
def test_verify_refuses_a_dtype_that_no_folder_has(small_world: World, folder: Path) -> None:
    edit_config(folder, dtype="int8")
    with pytest.raises(FolderError, match="dtype is 'int8'"):
        verify(folder, small_world[1], small_world[0])


@pytest.mark.usefixtures("warm")
def test_verify_names_a_tensor_that_the_folder_lacks(small_world: World, folder: Path) -> None:
    edit_tensors(folder, lambda tensors: tensors.pop("byteformer.layernorm.weight"))
    with pytest.raises(MappingError, match=r"byteformer\.layernorm\.weight"):
        verify(folder, small_world[1], small_world[0])


@pytest.mark.usefixtures("warm")
def test_labels_are_in_the_config_and_verify_does_not_mind_them(small_world: World, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("eins\nzwei\ndrei\nvier\nfünf\n", encoding="utf-8")
    config, weights = small_world
    convert(Request(config=config, weights=weights, output=tmp_path / "out", labels=labels, skip_parity=True))
    written = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert written["id2label"]["4"] == "fünf"
    assert written["label2id"]["eins"] == 0
    assert verify(tmp_path / "out", weights, config).passed
