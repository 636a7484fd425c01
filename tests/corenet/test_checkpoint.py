"""CoreNet's checkpoint files: every form they come in, and every file that is none."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from byteformer_convert.corenet.checkpoint import Checkpoint, WeightsKey, load_checkpoint
from byteformer_convert.errors import CheckpointError

State = dict[str, torch.Tensor]
CONTAINERS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def state(offset: float = 0.0, prefix: str = "", dtype: torch.dtype = torch.float32) -> State:
    generator = torch.Generator().manual_seed(0)
    shapes = {"embeddings.weight": (257, 4), "classifier.weight": (3, 4), "classifier.bias": (3,)}
    return {
        prefix + name: (torch.randn(shape, generator=generator) + offset).to(dtype) for name, shape in shapes.items()
    }


def save(tmp_path: Path, content: Any, *, zipped: bool = True, name: str = "x.pt") -> Path:
    path = tmp_path / name
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def training_checkpoint(**changes: Any) -> dict[str, Any]:
    """What CoreNet's get_training_state makes, with the EMA weights one above the model's."""
    return {
        "iterations": 7500,
        "epoch": 299,
        "model_state_dict": state(),
        "optim_state_dict": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.001}]},
        "best_metric": 77.05,
        "is_interval_ckpt": False,
        "ema_state_dict": state(1.0),
        **changes,
    }


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def same(ours: Checkpoint, theirs: State) -> bool:
    equal = [torch.equal(ours.tensors[name], theirs[name]) for name in theirs]
    return list(ours.tensors) == list(theirs) and all(equal)


def problem(path: Path, weights_key: WeightsKey = "auto") -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, weights_key)
    assert caught.value.exit_code == 3
    assert caught.value.where
    return str(caught.value)


def with_other_numpy(path: Path, zipped: bool) -> Path:
    """The same file as the other one of numpy 1 and 2 writes it: they name the scalar's module differently."""
    names = [b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"]
    other = path.with_name("other.pt")

    def swap(raw: bytes) -> bytes:
        old, new = names if names[0] in raw else names[::-1]
        assert raw.count(old) == 1
        return raw.replace(old, new)

    if not zipped:
        other.write_bytes(swap(path.read_bytes()))
        return other
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, swap(old.read(name)) if name.endswith("/data.pkl") else old.read(name))
    return other


def write(tmp_path: Path, content: bytes, name: str = "x.pt") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


# What can be read


@CONTAINERS
def test_a_plain_state_dict_comes_out_bit_for_bit(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path, OrderedDict(state()), zipped=zipped)
    found = load_checkpoint(path)
    assert same(found, state())
    assert (found.kind, found.weights, found.available) == ("state dict", "state_dict", ("state_dict",))
    assert (found.container, found.prefix, found.training) == ("zip" if zipped else "legacy", "", {})
    assert (found.path, found.size) == (path, path.stat().st_size)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.choice_sentence() == "the only weights in the file, a plain state dict"


@CONTAINERS
def test_auto_takes_the_ema_weights_of_a_training_checkpoint_and_says_so(tmp_path: Path, zipped: bool) -> None:
    found = load_checkpoint(save(tmp_path, training_checkpoint(), zipped=zipped))
    assert same(found, state(1.0))
    assert (found.kind, found.weights, found.available) == ("training checkpoint", "ema", ("model", "ema"))
    assert found.training == {"epoch": 299, "iterations": 7500, "best_metric": 77.05}
    assert found.choice_sentence() == (
        "the EMA weights of a training checkpoint (epoch 299); the file also holds the model weights"
    )


def test_model_takes_the_model_weights_although_there_are_ema_weights(tmp_path: Path) -> None:
    found = load_checkpoint(save(tmp_path, training_checkpoint()), "model")
    assert same(found, state())
    assert found.choice_sentence() == (
        "the model weights of a training checkpoint (epoch 299); the file also holds the EMA weights"
    )


@pytest.mark.parametrize("absent", [False, True], ids=["null", "absent"])
def test_auto_takes_the_model_weights_where_there_are_no_ema_weights(tmp_path: Path, absent: bool) -> None:
    content = training_checkpoint(ema_state_dict=None)
    found = load_checkpoint(save(tmp_path, without(content, "ema_state_dict") if absent else content))
    assert same(found, state())
    assert found.choice_sentence().endswith("(epoch 299); the file holds no others")


METRICS = [np.float64(77.05), np.float32(0.5), np.float16(0.5), np.int64(-3), np.uint8(200)]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.dtype.name)
@CONTAINERS
def test_a_numpy_scalar_is_no_obstacle(tmp_path: Path, metric: Any, zipped: bool) -> None:
    found = load_checkpoint(save(tmp_path, training_checkpoint(best_metric=metric), zipped=zipped))
    assert found.training["best_metric"] == metric.item()
    assert type(found.training["best_metric"]) in (int, float)


@CONTAINERS
def test_a_numpy_scalar_of_the_other_major_version_is_none_either(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path, training_checkpoint(best_metric=np.float64(77.05)), zipped=zipped)
    found = load_checkpoint(with_other_numpy(path, zipped))
    assert found.training["best_metric"] == 77.05


@pytest.mark.parametrize("metric", [np.complex64(1), np.str_("x"), float("inf"), "a", None, True])
def test_a_metric_that_is_no_finite_number_is_left_out(tmp_path: Path, metric: Any) -> None:
    assert "best_metric" not in load_checkpoint(save(tmp_path, training_checkpoint(best_metric=metric))).training


def test_a_metric_in_a_tensor_becomes_a_number(tmp_path: Path) -> None:
    found = load_checkpoint(save(tmp_path, training_checkpoint(best_metric=torch.tensor(0.5))))
    assert found.training["best_metric"] == 0.5


@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_a_prefix_that_every_name_has_is_stripped(tmp_path: Path, prefix: str) -> None:
    found = load_checkpoint(save(tmp_path, state(prefix=prefix)))
    assert same(found, state())
    assert found.prefix == prefix


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    found = load_checkpoint(save(tmp_path, mixed))
    assert (list(found.tensors), found.prefix) == (["module.a", "b"], "")


def test_ddps_prefix_goes_from_a_training_checkpoint_too(tmp_path: Path) -> None:
    found = load_checkpoint(save(tmp_path, training_checkpoint(ema_state_dict=state(1.0, "module."))))
    assert same(found, state(1.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_each_floating_dtype_stays_what_it_is(tmp_path: Path, dtype: torch.dtype) -> None:
    assert same(load_checkpoint(save(tmp_path, state(dtype=dtype))), state(dtype=dtype))


def test_parameters_come_out_as_tensors_without_gradient(tmp_path: Path) -> None:
    found = load_checkpoint(save(tmp_path, {"a": torch.nn.Parameter(torch.ones(2))}))
    assert type(found.tensors["a"]) is torch.Tensor
    assert not found.tensors["a"].requires_grad


def test_a_transposed_tensor_keeps_its_values(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3).t()
    assert torch.equal(load_checkpoint(save(tmp_path, {"a": weight})).tensors["a"], weight)


def test_a_zip_checkpoint_is_mapped_and_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **options: asked.append(options) or original(*args, **options))
    load_checkpoint(save(tmp_path, state()))
    load_checkpoint(save(tmp_path, state(), zipped=False))
    assert [options["mmap"] for options in asked] == [True, False]
    assert all(options["weights_only"] is True and options["map_location"] == "cpu" for options in asked)


def test_a_repacked_compressed_zip_gives_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "repacked.pt"
    with zipfile.ZipFile(save(tmp_path, state())) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert same(load_checkpoint(path), state())


def test_a_zip_of_the_other_byte_order_gives_the_same_weights_and_keeps_them(tmp_path: Path) -> None:
    weights = {"a": torch.randn(1 << 20), "b": torch.randn(1 << 20)}  # enough for pages to be given back
    path = tmp_path / "other.pt"
    swapped = {name: torch.from_numpy(tensor.numpy().byteswap()) for name, tensor in weights.items()}
    order = {"little": "big", "big": "little"}[sys.byteorder]
    with zipfile.ZipFile(save(tmp_path, swapped)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, order if name.endswith("/byteorder") else old.read(name))
    assert same(load_checkpoint(path), weights)


def test_threads_may_read_checkpoints_at_the_same_time(tmp_path: Path) -> None:
    path = save(tmp_path, training_checkpoint(best_metric=np.float64(77.05)))
    filters = warnings.filters[:]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(load_checkpoint, [path] * 100))
    assert all(one.training["best_metric"] == 77.05 for one in found)
    assert warnings.filters == filters


def test_a_tensor_that_torch_keeps_negated_has_its_values(tmp_path: Path) -> None:
    path = save(tmp_path, {"a": torch._neg_view(torch.arange(3.0))})
    assert (
        load_checkpoint(path).tensors["a"].view(torch.int32).tolist()
        == torch.tensor([-0.0, -1, -2]).view(torch.int32).tolist()
    )


def test_a_safetensors_file_is_a_plain_state_dict(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "x.safetensors")
    found = load_checkpoint(tmp_path / "x.safetensors")
    assert (found.kind, found.container) == ("state dict", "safetensors")
    assert dict(found.tensors).keys() == state().keys()
    assert torch.equal(found.tensors["classifier.bias"], state()["classifier.bias"])


# Adapter folders


def adapter(tmp_path: Path, config: dict[str, Any] | None = None) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config or {"model_type": "causal_lm"}))
    save_file(state(prefix="model."), tmp_path / "model.safetensors")
    return tmp_path


def sharded(tmp_path: Path, change: Callable[[dict[str, str]], Any] = lambda weight_map: None) -> Path:
    names = list(state(prefix="model."))
    weight_map = {name: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(weight_map.values()):
        tensors = {name: tensor for name, tensor in state(prefix="model.").items() if weight_map[name] == file}
        save_file(tensors, tmp_path / file)
    change(weight_map)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return tmp_path


def test_an_adapters_folder_loses_its_prefix(tmp_path: Path) -> None:
    found = load_checkpoint(adapter(tmp_path))
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        name: tensor.tolist() for name, tensor in state().items()
    }
    assert (found.kind, found.container, found.prefix) == ("adapter folder", "safetensors", "model.")
    assert found.size == (tmp_path / "model.safetensors").stat().st_size
    assert found.sha256 == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert found.choice_sentence() == "the weights of a folder that CoreNet's Hugging Face adapter saved"


def test_an_adapters_folder_may_be_in_shards(tmp_path: Path) -> None:
    found = load_checkpoint(sharded(tmp_path))
    assert found.tensors.keys() == state().keys()
    assert torch.equal(found.tensors["embeddings.weight"], state()["embeddings.weight"])
    raw = [path.read_bytes() for path in sorted(tmp_path.glob("*.safetensors"))]
    assert len(raw) == 2
    assert (found.size, found.sha256) == (len(raw[0]) + len(raw[1]), hashlib.sha256(raw[0] + raw[1]).hexdigest())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weight_map: weight_map.update({"model.x": next(iter(weight_map.values()))}), "lack tensors"),
        (lambda weight_map: weight_map.pop("model.classifier.bias"), "hold tensors"),
        (lambda weight_map: weight_map.update({"model.x": "../y.safetensors"}), "'../y.safetensors'"),
        (lambda weight_map: weight_map.update({"model.x": 3}), "names 3"),
        (
            lambda weight_map: weight_map.update({"model.x": "gone.safetensors"}),
            "gone.safetensors: there is no such file",
        ),
        (lambda weight_map: weight_map.clear(), "no weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    assert words in problem(sharded(tmp_path, change))


def test_an_index_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert "model.safetensors.index.json: this is not JSON" in problem(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert "holds no model.safetensors" in problem(tmp_path)


def test_a_folder_that_is_converted_already_is_refused(tmp_path: Path) -> None:
    assert "converted already" in problem(adapter(tmp_path, {"model_type": "byteformer"}))


def test_a_lfs_pointer_in_place_of_the_adapters_weights_is_named(tmp_path: Path) -> None:
    write(adapter(tmp_path), b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "model.safetensors")
    assert "model.safetensors: this is a Git LFS pointer" in problem(tmp_path)


# Weights that are not there


def test_asking_for_ema_where_there_is_none_says_what_there_is(tmp_path: Path) -> None:
    text = problem(save(tmp_path, without(training_checkpoint(), "ema_state_dict")), "ema")
    assert "no EMA weights (ema_state_dict); it holds model weights (model_state_dict)" in text
    assert "ema.enable" in text


def test_asking_for_model_where_there_is_only_ema_says_what_there_is(tmp_path: Path) -> None:
    text = problem(save(tmp_path, without(training_checkpoint(), "model_state_dict")), "model")
    assert "no model weights (model_state_dict); it holds EMA weights (ema_state_dict)" in text


@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_plain_state_dict_leaves_nothing_to_choose(tmp_path: Path, key: WeightsKey) -> None:
    text = problem(save(tmp_path, state()), key)
    assert "one state dict only" in text
    assert "Leave --weights-key out" in text


def test_a_training_checkpoint_with_something_else_for_weights_is_refused(tmp_path: Path) -> None:
    assert "ema_state_dict is a list of 1" in problem(save(tmp_path, training_checkpoint(ema_state_dict=[1])))
    nothing = {"model_state_dict": None, "epoch": 1}
    assert "no model weights (model_state_dict); it holds no weights" in problem(save(tmp_path, nothing))


# Files that are not checkpoints


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><body>Not Found</body></html>", "web page (HTML)"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b"model:\n  classification:\n    name: byteformer\n", "text file"),
        ("größer\n".encode() * 1000, "text file"),
        (pickle.dumps({"a": 1}), "pickle, but not one that torch.save wrote"),
        (b"\x1f\x8b\x08\x00" + b"\x00" * 20, "compressed"),
        (b"\x00\x01\x02\x03" * 100, "not a checkpoint"),
        (b"PK\x03\x04" + b"\x00" * 100, "cut off or damaged"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{", "cut off or damaged"),
        (b"\x80\x02\x8a", "cut off after 3 bytes"),
    ],
)
def test_another_file_is_called_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    text = problem(write(tmp_path, content))
    assert text.startswith("x.pt: ")
    assert words in text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pt: there is no such file") as caught:
        load_checkpoint(tmp_path / "gone.pt")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_device_is_not_read() -> None:
    assert "pipe or a device" in problem(Path("/dev/zero"))


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_part_of_a_file_is_cut_off(tmp_path: Path, container: str, kept: float) -> None:
    if container == "safetensors":
        path = tmp_path / "x.pt"
        save_file(state(), path)
    else:
        path = save(tmp_path, state(), zipped=container == "zip")
    raw = path.read_bytes()
    assert "cut off" in problem(write(tmp_path, raw[: int(len(raw) * kept)]))


def test_a_zip_file_of_something_else_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("word/document.xml", "x")
    assert "not one that torch.save wrote" in problem(tmp_path / "x.pt")


def test_a_torchscript_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:  # the names that torch.jit.save writes
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"model/{name}", "x")
    assert "TorchScript" in problem(tmp_path / "x.pt")


def test_a_zip_file_with_a_damaged_pickle_is_one_clear_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02]q\x00(X")
        archive.writestr("x/version", "3\n")
    assert "cut off or damaged: its pickle" in problem(tmp_path / "x.pt")


@CONTAINERS
def test_what_else_a_pickle_asks_for_is_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path, training_checkpoint(opts=argparse.Namespace(a=1)), zipped=zipped)
    text = problem(path)
    assert "argparse.Namespace" in text
    assert "run any code" in text
    assert "torch.save(" in text


@CONTAINERS
def test_a_pickle_that_runs_code_does_not(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path, {"a": Runs(f"touch {tmp_path / 'ran'}")}, zipped=zipped)
    assert "system" in problem(path)
    assert not (tmp_path / "ran").exists()


def test_all_names_that_a_zip_asks_for_are_listed(tmp_path: Path) -> None:
    content = {"a": argparse.Namespace(), "b": Path("x"), "c": np.ones(2)}
    text = problem(save(tmp_path, content))
    for name in ("argparse.Namespace", "pathlib", "_reconstruct"):
        assert name in text


@CONTAINERS
def test_a_whole_pickled_model_is_called_that(tmp_path: Path, zipped: bool) -> None:
    text = problem(save(tmp_path, torch.nn.Linear(2, 2), zipped=zipped))
    assert "whole pickled model" in text
    assert "torch.nn.modules.linear.Linear" in text
    assert ".state_dict()" in text


def test_another_pickle_protocol_is_named(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pt", pickle_protocol=4)
    assert "pickle protocol" in problem(tmp_path / "x.pt")


# Content that is no state dict


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, ("empty",)),
        ([torch.ones(2)], ("a list of 1",)),
        (torch.ones(2, 3), ("one tensor of shape [2, 3]",)),
        ({"epoch": 3, "lr": 0.1}, ("keys are epoch, lr",)),
        ({"state_dict": state(), "epoch": 3}, ("Another tool", "['state_dict']")),
        ({3: torch.ones(2)}, ("names that are not text: 3 (int)",)),
        ({"a": torch.ones(2), "b": 3, "c": [1]}, ("not tensors: b (int), c (list)",)),
        ({"a": torch.ones(2, dtype=torch.int64)}, ("fp16, bf16, fp32 or fp64: a (int64)",)),
        ({"a": torch.ones(2, dtype=torch.complex64)}, ("a (complex64)",)),
        ({"a": torch.ones(0, 3)}, ("without values: a [0, 3]",)),
        ({"a": torch.eye(3).to_sparse()}, ("not plain", "a (sparse_coo)")),
        ({"a": torch.empty(2, device="meta")}, ("not plain", "a (meta)")),
        ({"a": torch.ones(1).expand(5, 10**6)}, ("more values than the file holds: a [5, 1000000]",)),
        ({"a": torch.tensor([1.0, float("nan"), float("inf")])}, ("NaN or infinity: a (2 of 3 values)",)),
        ({"a": torch.tensor([1.0, float("inf")])}, ("a (1 of 2 values)",)),
        ({"a": torch.tensor([float("-inf")])}, ("a (1 of 1 values)",)),
        ({f"t{i}": torch.tensor([float("nan")]) for i in range(8)}, ("t0", "t4", "and 3 more")),
        (
            {"a": torch.tensor([float("nan")]), "b": torch.ones(1).int()},
            ("it holds NaN or infinity: a (1 of 1 values); tensors that are not", "b (int32)."),
        ),
    ],
    ids=lambda value: "" if not isinstance(value, tuple) else value[0][:30],
)
def test_what_no_byteformer_holds_is_refused_by_name(tmp_path: Path, content: Any, words: tuple[str, ...]) -> None:
    text = problem(save(tmp_path, content))
    for word in words:
        assert word in text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_nan_is_found_in_each_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    weight = torch.ones(3, 5, dtype=dtype)
    weight[2, 4] = float("nan")
    assert "w (1 of 15 values)" in problem(save(tmp_path, {"w": weight}))


def test_the_largest_finite_numbers_are_finite(tmp_path: Path) -> None:
    weight = torch.full((1000,), torch.finfo(torch.float16).max, dtype=torch.float16)
    assert torch.equal(load_checkpoint(save(tmp_path, {"w": weight})).tensors["w"], weight)


def test_nan_in_weights_that_are_not_taken_does_not_matter(tmp_path: Path) -> None:
    broken = {"a": torch.tensor([float("nan")])}
    assert same(load_checkpoint(save(tmp_path, training_checkpoint(model_state_dict=broken))), state(1.0))


# A real one


def test_corenets_own_checkpoint_loads(shared: Path) -> None:
    found = load_checkpoint(shared / "trained" / "digits_fhwc_k4_w32.pt")
    assert (found.kind, found.prefix) == ("state dict", "")
    assert len(found.tensors) == 169
    assert found.tensors["token_reduction_net.weight"].shape == (192, 192, 4)
    assert found.tensors["classifier.bias"].shape == (10,)


class Runs:
    """A pickle that runs a command when it is loaded the usual way."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_refused_file_comes_with_no_advice_that_would_run_it(tmp_path: Path, zipped: bool) -> None:
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(save(tmp_path, {"a": torch.ones(2), "opts": argparse.Namespace()}, zipped=zipped))
    assert "weights_only" not in str(refused.value)
    assert "torch.save(model.state_dict()" in str(refused.value)
