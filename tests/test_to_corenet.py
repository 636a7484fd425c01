"""The way back: every tensor as it was, a YAML that fits, and everything that CoreNet cannot express refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.bundled.modeling_byteformer import ByteFormerForImageClassification
from byteformer_convert.cli import app
from byteformer_convert.conversion import Request, convert
from byteformer_convert.corenet.checkpoint import load_checkpoint
from byteformer_convert.corenet.options import load_options
from byteformer_convert.demo import generated_weights
from byteformer_convert.errors import FolderError, InputError, OutputError, UsageError
from byteformer_convert.mapping.way_back import CONFIG_DEFAULTS
from byteformer_convert.parity.check import build_reference
from byteformer_convert.to_corenet import to_corenet

TINY = ("model.classification.byteformer.max_num_tokens=16", "model.classification.n_classes=3")
YAML = """
dataset: {category: classification}
image_augmentation: {pil_save: {enable: true, file_encoding: fHWC}}
model:
  classification:
    name: byteformer
    n_classes: 3
    byteformer: {max_num_tokens: 16, conv_kernel_size: 4, window_sizes: [8], window_shifts: [0,4,0,4,0,4,0,4,0,4,0,4]}
  activation: {name: gelu}
ema: {enable: true}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generated checkpoint `there.pt`, its YAML, and `converted`, made of them."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "there.yaml").write_text(YAML)
    torch.save(generated_weights(load_options(folder / "there.yaml"), 0), folder / "there.pt")
    convert(Request(folder / "there.pt", folder / "converted", folder / "there.yaml", skip_parity=True))
    return folder


@pytest.fixture
def converted(source: Path, tmp_path: Path) -> Path:
    """A copy of the converted folder, to change things in."""
    return Path(shutil.copytree(source / "converted", tmp_path / "converted"))


def assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_tensor_comes_back_as_it_was(source: Path, tmp_path: Path) -> None:
    result = to_corenet(source / "converted", tmp_path / "back.pt")
    found, wanted = torch.load(tmp_path / "back.pt", weights_only=True), torch.load(source / "there.pt")
    assert_equal(found, wanted)
    assert result.tensors == len(wanted)
    assert result.dtype == "float32"
    assert result.notes == ()


def test_the_yaml_beside_it_makes_the_same_folder_again(source: Path, tmp_path: Path) -> None:
    to_corenet(source / "converted", tmp_path / "there.pt")
    convert(Request(tmp_path / "there.pt", tmp_path / "again", tmp_path / "there.yaml", skip_parity=True))
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (source / "converted" / name).read_bytes(), name
    assert load_options(tmp_path / "there.yaml").resolved() == load_options(source / "there.yaml").resolved()


def test_the_same_folder_gives_the_same_bytes_whatever_the_file_is_called(source: Path, tmp_path: Path) -> None:
    one = to_corenet(source / "converted", tmp_path / "one.pt")
    two = to_corenet(source / "converted", tmp_path / "two.pt")
    assert one.weights.sha256 == two.weights.sha256


def test_the_file_holds_no_more_than_its_tensors(source: Path, tmp_path: Path) -> None:
    result = to_corenet(source / "converted", tmp_path / "back.pt")
    assert result.weights.size < 4 * result.parameters + 100_000


def test_the_checkpoint_loads_strictly_into_the_reference(source: Path, tmp_path: Path) -> None:
    to_corenet(source / "converted", tmp_path / "back.pt")
    options = load_options(tmp_path / "back.yaml")
    model = build_reference(load_checkpoint(tmp_path / "back.pt").tensors, options)
    assert model(torch.randint(0, 256, (1, 30))).shape == (1, 3)


def test_a_fine_tuned_folder_with_another_head_goes_back(tmp_path: Path) -> None:
    config = ByteFormerConfig(conv_kernel_size=4, max_position_embeddings=8, id2label={0: "cat", 1: "dog", 2: "cow"})
    model = ByteFormerForImageClassification(config)
    model.save_pretrained(tmp_path / "tuned")
    saved = json.loads((tmp_path / "tuned" / "config.json").read_text())
    old = {name: value for name, value in saved.items() if value != CONFIG_DEFAULTS.get(name)}
    assert "hidden_size" not in old  # transformers 4.57 leaves out what has its default
    (tmp_path / "tuned" / "config.json").write_text(json.dumps(old))
    result = to_corenet(tmp_path / "tuned", tmp_path / "tuned.pt")
    assert "preprocessor_config.json" in result.notes[0]
    ids = torch.randint(0, 256, (2, 18))
    reference = build_reference(load_checkpoint(tmp_path / "tuned.pt").tensors, load_options(tmp_path / "tuned.yaml"))
    with torch.no_grad():
        torch.testing.assert_close(reference(ids), model.eval()(input_ids=ids).logits, rtol=0, atol=1e-5)


def test_half_precision_stays_as_it_is_and_is_said(source: Path, tmp_path: Path) -> None:
    request = Request(source / "there.pt", tmp_path / "half", source / "there.yaml", dtype="bfloat16", skip_parity=True)
    convert(request)
    result = to_corenet(tmp_path / "half", tmp_path / "half.pt")
    state = torch.load(tmp_path / "half.pt", weights_only=True)
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}
    assert "half precision" in result.notes[0]


def test_shards_are_put_together(source: Path, tmp_path: Path) -> None:
    request = Request(
        source / "there.pt", tmp_path / "shards", source / "there.yaml", max_shard_size="5MB", skip_parity=True
    )
    convert(request)
    to_corenet(tmp_path / "shards", tmp_path / "back.pt")
    assert_equal(torch.load(tmp_path / "back.pt", weights_only=True), torch.load(source / "there.pt"))


@pytest.mark.parametrize("there", ["back.pt", "back.yaml"])
def test_an_output_that_is_there_stays(source: Path, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("old")
    with pytest.raises(OutputError, match="is there already"):
        to_corenet(source / "converted", tmp_path / "back.pt")
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_an_output_named_like_the_yaml_is_a_usage_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a YAML's name"):
        to_corenet(source / "converted", tmp_path / "back.yaml")


@pytest.mark.parametrize("switch", ["mask_padding", "mask_shifted_windows", "last_axis_layer_norm"])
def test_a_corrected_oddity_is_refused(converted: Path, tmp_path: Path, switch: str) -> None:
    change_json(converted / "config.json", **{switch: True})
    with pytest.raises(FolderError, match=f"{switch} is on, and CoreNet"):
        to_corenet(converted, tmp_path / "back.pt")
    assert not (tmp_path / "back.pt").exists()


def test_an_adapter_that_is_not_merged_is_refused(converted: Path, tmp_path: Path) -> None:
    (converted / "adapter_config.json").write_text("{}")
    with pytest.raises(FolderError, match=r"PEFT adapter \(adapter_config\.json\)") as caught:
        to_corenet(converted, tmp_path / "back.pt")
    assert "merge_and_unload" in str(caught.value.hint)


def test_a_folder_with_nothing_but_an_adapter_is_told_the_same(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(FolderError, match="PEFT adapter"):
        to_corenet(tmp_path, tmp_path / "back.pt")


def test_added_layers_are_refused(converted: Path, tmp_path: Path) -> None:
    tensors = load_file(converted / "model.safetensors")
    extra = {"byteformer.layers.0.attention.q_proj.lora_A.default.weight": torch.zeros(2, 192)}
    save_file(tensors | extra, converted / "model.safetensors")
    with pytest.raises(FolderError, match=r"lora_A\.default\.weight: is not a tensor"):
        to_corenet(converted, tmp_path / "back.pt")


def test_a_model_without_a_head_is_refused(converted: Path, tmp_path: Path) -> None:
    tensors = load_file(converted / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "classifier" not in k}, converted / "model.safetensors")
    with pytest.raises(FolderError, match="no classifier"):
        to_corenet(converted, tmp_path / "back.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conv_kernel_size": 8}, "do not fit its config.json"),
        ({"hidden_dropout_prob": 0.1, "drop_path_rate": 0.1}, "CoreNet takes one of the two"),
        ({"hidden_act": "mish"}, "model.activation.name is 'mish'"),
    ],
)
def test_a_config_that_was_changed_by_hand_is_refused(
    converted: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    change_json(converted / "config.json", **changes)
    with pytest.raises(InputError, match=words):
        to_corenet(converted, tmp_path / "back.pt")


def test_a_folder_that_lacks_a_tensor_is_refused(converted: Path, tmp_path: Path) -> None:
    tensors = load_file(converted / "model.safetensors")
    del tensors["byteformer.layers.3.mlp.fc1.bias"]
    save_file(tensors, converted / "model.safetensors")
    with pytest.raises(InputError, match=r"pre_norm_ffn\.1\.bias"):
        to_corenet(converted, tmp_path / "back.pt")


def test_the_command_says_what_it_wrote(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "back.pt"
    result = CliRunner().invoke(app, ["to-corenet", str(source / "converted"), "--output", str(output), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert document["weights"]["name"] == "back.pt"
    assert document["config"]["name"] == "back.yaml"
    again = CliRunner().invoke(app, ["to-corenet", str(source / "converted"), "--output", str(output)])
    assert again.exit_code == 5


def test_the_digits_checkpoint_comes_back(shared: Path, tmp_path: Path) -> None:
    weights = shared / "trained" / "digits_fhwc_k4_w32.pt"
    convert(Request(weights, tmp_path / "digits", weights.with_suffix(".yaml"), skip_parity=True))
    to_corenet(tmp_path / "digits", tmp_path / "back.pt")
    assert_equal(torch.load(tmp_path / "back.pt", weights_only=True), torch.load(weights))
