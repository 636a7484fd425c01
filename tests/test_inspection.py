"""What inspect finds, on each kind of thing it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from byteformer_convert.conversion import Request, convert
from byteformer_convert.errors import FolderError, UsageError
from byteformer_convert.inspection import Inspection, TensorFamily, inspect
from tests.small_world import changed_weights, weights_for, write_yaml

World = tuple[Path, Path]


@pytest.fixture(scope="module")
def folder(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("inspected") / "folder"
    convert(Request(config=small_world[0], weights=small_world[1], output=output, skip_parity=True))
    return output


def family(inspection: Inspection, name: str) -> TensorFamily:
    return next(family for family in inspection.families if family.name == name)


def test_a_yaml_alone_tells_sizes_and_where_tensors_will_go(small_world: World) -> None:
    result = inspect(config=small_world[0])
    facts = dict(result.facts)
    assert result.subject == "c.yaml"
    assert facts["task"] == "image classification, 5 classes"
    assert facts["mode"] == "tiny: 12 layers of 192 channels, 3 heads"
    assert facts["windows"] == "32"
    assert facts["merges after"] == "0, 1, 3, 5, 7, 9"
    assert result.options is not None
    assert result.options["model.classification.byteformer.max_num_tokens"] == 60
    assert result.parameters == sum(tensor.numel() for tensor in weights_for(small_world[0]).values())
    assert result.mismatches == ()


def test_the_table_folds_layers_and_says_what_happens_to_the_numbers(small_world: World) -> None:
    result = inspect(*small_world)
    qkv = family(result, "transformer.{i}.pre_norm_mha.1.qkv_proj.weight")
    assert qkv.layers == tuple(range(12))
    assert qkv.shape == (576, 192)
    assert qkv.parameters == 12 * 576 * 192
    assert qkv.targets == tuple(f"byteformer.layers.{{i}}.attention.{part}_proj.weight" for part in "qkv")
    assert qkv.how == "split q, k, v"
    merge = family(result, "downsamplers.downsample_{i}.reduction.weight")
    assert merge.layers == (0, 1, 3, 5, 7, 9)
    assert merge.how == "de-interleave tokens"
    assert len(result.families) == 22


def test_a_checkpoint_alone_tells_what_it_holds(small_world: World) -> None:
    result = inspect(weights=small_world[1])
    facts = dict(result.facts)
    assert facts["file"].startswith("state dict, zip, ")
    assert facts["tensors"] == "169, float32"
    assert len(facts["sha256"]) == 64
    assert result.options is None
    assert result.notes == ("Took the only weights in the file, a plain state dict.",)


def test_both_tell_what_would_fail(small_world: World, tmp_path: Path) -> None:
    def damage(state: dict[str, torch.Tensor]) -> None:
        state["classifier.weight"] = torch.zeros(7, 192)
        state["stranger"] = torch.zeros(3)
        del state["transformer.3.pre_norm_ffn.1.bias"]

    weights = changed_weights(small_world[1], tmp_path / "w.pt", damage)
    result = inspect(small_world[0], weights)
    found = [(mismatch.problem, mismatch.name, mismatch.layers) for mismatch in result.mismatches]
    assert found == [
        ("missing", "transformer.{i}.pre_norm_ffn.1.bias", (3,)),
        ("shape", "classifier.weight", ()),
        ("unknown", "stranger", ()),
    ]
    assert family(result, "stranger").targets == ()
    assert json.loads(json.dumps(result.to_dict()))["convertible"] is False


def test_overrides_count(small_world: World) -> None:
    result = inspect(*small_world, overrides=["model.classification.n_classes=6"])
    assert {mismatch.name for mismatch in result.mismatches} == {"classifier.weight", "classifier.bias"}


def test_a_typo_in_the_yaml_is_a_note(tmp_path: Path) -> None:
    config = write_yaml(tmp_path / "c.yaml", window_size=[32])
    assert any("window_size is not an option" in note for note in inspect(config=config).notes)


def test_a_finished_folder_tells_where_its_tensors_came_from(folder: Path, small_world: World) -> None:
    result = inspect(folder=folder)
    facts = dict(result.facts)
    assert facts["model"] == "ByteFormerForImageClassification"
    assert (facts["classes"], facts["dtype"], facts["tensors"]) == ("5", "float32", "217")
    assert family(result, "byteformer.layers.{i}.attention.k_proj.weight").targets == (
        "transformer.{i}.pre_norm_mha.1.qkv_proj.weight",
    )
    assert result.parameters == inspect(config=small_world[0]).parameters


def test_what_is_no_converted_folder_is_refused(tmp_path: Path, small_world: World) -> None:
    with pytest.raises(FolderError, match=r"config\.json cannot be read"):
        inspect(folder=tmp_path)
    with pytest.raises(FolderError, match=r"config\.json cannot be read"):
        inspect(folder=small_world[0])
    (tmp_path / "config.json").write_text('{"model_type": "byteformer"}')
    with pytest.raises(FolderError, match="holds neither"):
        inspect(folder=tmp_path)


@pytest.mark.parametrize("fields", ['"id2label": 3', '"architectures": "x"', '"architectures": null', '"dtype": []'])
def test_a_config_of_odd_types_is_no_traceback(folder: Path, tmp_path: Path, fields: str) -> None:
    for path in folder.glob("model*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(f'{{"model_type": "byteformer", {fields}}}')
    result = inspect(folder=tmp_path)
    assert dict(result.facts)["classes"] == "5"
    assert any("config.json cannot be used" in note for note in result.notes) is not fields.endswith(("null", "[]"))


def test_there_must_be_something_to_inspect_and_not_too_much(folder: Path, small_world: World) -> None:
    with pytest.raises(UsageError, match="nothing to inspect"):
        inspect()
    with pytest.raises(UsageError, match="a folder is inspected alone"):
        inspect(small_world[0], folder=folder)
