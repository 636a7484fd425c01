"""Finished folders with one hostile file each, through the commands: one message, nothing run, nothing left behind."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from typer.testing import CliRunner

from byteformer_convert.cli import app
from byteformer_convert.errors import ByteFormerConvertError
from byteformer_convert.mapping.way_back import corenet_options
from byteformer_convert.mapping.weights_fit import weights_misfits
from byteformer_convert.output.folder import file_record
from byteformer_convert.output.folder_fields import CONFIG_FIELDS, PROCESSOR_FIELDS, STEERING, field_problems
from byteformer_convert.output.weight_files import weight_shapes
from tests.folders import make_folder
from tests.hostile.hostile_options import VALUES, hostile_files

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PROCESSOR = "preprocessor_config.json"
Plant = Callable[[Path], object]
DEEP = b'{"model_type": "byteformer", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


class Evil:
    """Would write a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("good"), max_num_tokens=60)


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of which every file may be replaced, and the working folder empty."""
    shutil.copytree(good, tmp_path / "folder")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "folder"


def changed(name: str, **fields: Any) -> Plant:
    def plant(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))

    return plant


def replaced(name: str, content: bytes) -> Plant:
    return lambda folder: (folder / name).write_bytes(content)


def without_weights(name: str = "", content: bytes = b"") -> Plant:
    def plant(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        if name:
            (folder / name).write_bytes(content)

    return plant


def sharded(file: str) -> Plant:
    return without_weights(INDEX, json.dumps({"weight_map": {"classifier.bias": file}}).encode())


def in_place(name: str, make: Callable[[Path], object]) -> Plant:
    def plant(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return plant


def weights_of(**tensors: torch.Tensor) -> Plant:
    return lambda folder: save_file(
        {name.replace("__", "."): tensor for name, tensor in tensors.items()}, folder / WEIGHTS
    )


def lying_offsets(folder: Path) -> None:
    header = json.dumps({"classifier.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**40]}}).encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


# By the commands that read the file in question.
READ_BY_ALL: dict[str, Plant] = {
    "config empty": replaced(CONFIG, b""),
    "config of NUL": replaced(CONFIG, bytes(1000)),
    "config deep": replaced(CONFIG, DEEP),
    "config a list": replaced(CONFIG, b"[]"),
    "config no UTF-8": replaced(CONFIG, b'{"model_type": "\xff"}'),
    "config a folder": in_place(CONFIG, Path.mkdir),
    "config missing": lambda folder: (folder / CONFIG).unlink(),
    "config a pipe": in_place(CONFIG, os.mkfifo),
    "config /dev/zero": in_place(CONFIG, lambda path: path.symlink_to("/dev/zero")),
    "config a loop": in_place(CONFIG, lambda path: path.symlink_to(CONFIG)),
    "no weights": without_weights(),
    "a pickle alone": without_weights("pytorch_model.bin", pickle.dumps({"x": Evil()})),
    "index of a missing shard": sharded("model-00001-of-00002.safetensors"),
    "index leads up": sharded("../good.safetensors"),
    "index absolute": sharded("/etc/passwd"),
    "index a device": sharded("/dev/zero"),
    "index a pickle": sharded("pytorch_model.bin"),
    "index deep": without_weights(INDEX, DEEP),
    "index of numbers": without_weights(INDEX, b'{"weight_map": {"x": 3}}'),
    "weights empty": replaced(WEIGHTS, b""),
    "weights a pickle": replaced(WEIGHTS, pickle.dumps({"x": Evil()})),
    "weights cut": lambda folder: os.truncate(folder / WEIGHTS, 100_000),
    "weights a pipe": in_place(WEIGHTS, os.mkfifo),
    "weights /dev/zero": in_place(WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
    "weights of lying offsets": lying_offsets,
    "weights of other names": weights_of(x=torch.ones(2)),
}
READ_WHOLE: dict[str, Plant] = {  # by inspect as notes
    "hidden_size of a million": changed(CONFIG, hidden_size=10**6, num_attention_heads=1),
    "hidden_size NaN": changed(CONFIG, hidden_size=float("nan")),
    "a billion layers": changed(CONFIG, num_hidden_layers=10**9),
    "positions of terabytes": changed(CONFIG, max_position_embeddings=2**31 - 1),
    "windows of a billion": changed(CONFIG, window_sizes=10**9),
    "fewer classes": changed(CONFIG, id2label={"0": "a"}, label2id={"a": 0}),
    "names with gaps": changed(CONFIG, id2label={"0": "a", "7": "b"}),
    "no auto_map": changed(CONFIG, auto_map=5, architectures=None),
    "weights of another shape": weights_of(classifier__weight=torch.ones(5, 3), classifier__bias=torch.ones(5)),
    "weights of whole numbers": weights_of(classifier__bias=torch.ones(5, dtype=torch.int64)),
    "processor deep": replaced(PROCESSOR, DEEP),
    "processor of terabytes": changed(PROCESSOR, crop_size={"height": 10**6, "width": 10**6}),
    "processor a pipe": in_place(PROCESSOR, os.mkfifo),
    "processor of text": changed(PROCESSOR, noise_range="ab"),
}
LOADED: dict[str, Plant] = {  # by transformers
    "an adapter": replaced("adapter_config.json", b'{"peft_type": "LORA", "base_model_name_or_path": "x/y"}'),
    "shards of another kind": replaced("shard-00001-model-00001-of-00001.safetensors", b""),
    "another class": changed(
        CONFIG, auto_map={"AutoModelForImageClassification": "modeling_byteformer.ByteFormerModel"}
    ),
    "another processor": changed(PROCESSOR, auto_map={}, image_processor_type="ViTImageProcessor"),
    "a tokenizer's code": replaced("tokenizer_config.json", b'{"auto_map": {"AutoProcessor": "x/y--z.Z"}}'),
    **{f"{name}": changed(CONFIG, **{name: "config.4.0.0.json"}) for name in STEERING},
}


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [*READ_BY_ALL, *READ_WHOLE, *LOADED])
def test_a_hostile_folder_ends_every_command_with_3(folder: Path, tmp_path: Path, name: str) -> None:
    ({**READ_BY_ALL, **READ_WHOLE, **LOADED}[name])(folder)
    before = listing(tmp_path)
    commands: list[tuple[str | Path, ...]] = [("predict", folder, "x.png"), ("evaluate", folder, "--data", folder)]
    if name not in LOADED:
        commands.append(("to-corenet", folder, "--output", tmp_path / "x.pt"))
    if name in READ_BY_ALL:
        commands.append(("inspect", folder))
    for command in commands:
        code, words = run(*command)
        assert (code, words.count("error:")) == (3, 1), (command, words)
        assert name in ("another class", "another processor") or name not in LOADED or "not this version's" in words
        assert len(words) < 10_000
    assert listing(tmp_path) == before


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("name", [*LOADED, "hidden_size of a million", "processor a pipe"])
def test_verify_looks_before_it_runs_a_folder(good: Path, folder: Path, tmp_path: Path, name: str) -> None:
    ({**READ_WHOLE, **LOADED}[name])(folder)
    if name in ("another class", "another processor"):
        pytest.skip("the numbers tell, or the fresh process: nothing but this version's code is run")
    code, words = run("verify", folder, "--config", good.parent / "model.yaml", "--weights", good.parent / "model.pt")
    assert code == (4 if name.startswith("hidden") else 3), words
    assert not list((tmp_path / "here").iterdir())


def test_a_second_config_runs_no_code(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "m.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    shutil.copyfile(folder / CONFIG, folder / "config.4.0.0.json")
    changed("config.4.0.0.json", auto_map={"AutoConfig": f"{tmp_path / 'evil'}--m.C"})(folder)
    changed(CONFIG, configuration_files=["config.json", "config.4.0.0.json"])(folder)
    assert run("predict", folder, "x.png")[0] == 3
    assert not (tmp_path / "ran").exists()
    # In a new process: transformers takes what it has loaded of a model type before for every later folder.
    command = [sys.executable, "-m", "byteformer_convert", "predict", folder, "x.png", "--trust-remote-code"]
    subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert (tmp_path / "ran").exists()  # it is as dangerous as it claims


def test_planted_bytecode_and_code_in_subfolders_are_not_run(folder: Path, tmp_path: Path) -> None:
    for name in ("__pycache__", "sub"):
        (folder / name).mkdir()
        for file in ("modeling_byteformer.cpython-311.pyc", "modeling_byteformer.py", "__init__.py"):
            (folder / name / file).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Evil()}))
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"x")
    (folder / "chat_template.jinja").write_text("{{ ''.__class__ }}")
    shutil.copyfile(Path(__file__).parents[1] / "golden" / "processors" / "china.jpg", tmp_path / "x.jpg")
    assert run("predict", folder, tmp_path / "x.jpg")[0] in (0, 3)  # 3: this small model has no room for it
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("name", ["README.md", "conversion_report.json", WEIGHTS])
def test_what_a_link_leads_to_outside_is_never_published(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.move(folder / name, tmp_path / "secret")
    (folder / name).symlink_to(tmp_path / "secret")
    content = (tmp_path / "secret").read_bytes()
    code, words = run("push-to-hub", folder, "me/x", "--dry-run", "--allow-unverified")
    assert (code, f"{name} is a link that leaves the folder" in words) == (6, True), words
    assert (tmp_path / "secret").read_bytes() == content


def test_a_folder_of_links_like_the_hubs_cache_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for path in list(folder.iterdir()):
        shutil.move(path, tmp_path / "blobs" / path.name)
        path.symlink_to(Path("..") / "blobs" / path.name)
    assert run("inspect", folder)[0] == 0
    assert run("to-corenet", folder, "--output", tmp_path / "x.pt")[0] == 0


PUSHED: dict[str, Plant] = {
    "a card of aliases": replaced(
        "README.md", b"---\n" + dict(hostile_files())["aliases that explode"] + b"---\n"
    ),
    "a card deep": replaced("README.md", b"---\na: " + b"[" * 100_000 + b"\n---\n"),
    "a report of NaN": changed("conversion_report.json", x=float("nan")),
    "a report that lists a pipe": in_place("README.md", os.mkfifo),
    "a report of too many files": changed(
        "conversion_report.json", files=[{"name": f"x{i}", "size": 1, "sha256": ""} for i in range(20_000)]
    ),
    "a report that leads up": changed("conversion_report.json", files=[{"name": "../x", "size": 1, "sha256": ""}]),
    "a report deep": replaced("conversion_report.json", DEEP),
}  # fmt: skip


@pytest.mark.parametrize("name", PUSHED)
def test_a_hostile_card_or_report_is_not_published(folder: Path, name: str) -> None:
    PUSHED[name](folder)
    if name.startswith("a card"):  # so that the card itself is looked at, not its checksum alone
        report = json.loads((folder / "conversion_report.json").read_bytes())
        rows = [row for row in report["files"] if row["name"] != "README.md"]
        changed("conversion_report.json", files=[*rows, file_record(folder / "README.md").to_dict()])(folder)
    code, words = run("push-to-hub", folder, "me/x", "--dry-run", "--allow-unverified")
    assert (code, len(words) < 6000) == (6, True), words


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.text(max_size=3)
ANY = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=6)


def fields(known: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(known)), ANY | st.sampled_from(list(VALUES.values())), max_size=5)


@given(fields({**CONFIG_FIELDS, "architectures": 0, "id2label": 0}), fields(PROCESSOR_FIELDS))
def test_any_field_is_refused_or_goes_back_to_corenet(config: dict[str, Any], processor: dict[str, Any]) -> None:
    problems = [*field_problems(config, CONFIG_FIELDS), *field_problems(processor, PROCESSOR_FIELDS)]
    assert all(len(problem) < 300 for problem in problems)
    if problems:
        return
    list(weights_misfits(config, {}))
    for task in ("Image", "Audio"):
        try:
            corenet_options({"architectures": [f"ByteFormerFor{task}Classification"]} | config, processor, 3, where="x")
        except ByteFormerConvertError as error:
            assert error.exit_code == 3  # noqa: PT017 - many raise, not all


@given(st.sampled_from(sorted(CONFIG_FIELDS)), st.sampled_from(sorted(VALUES)))
def test_a_value_that_is_taken_is_within_what_a_machine_holds(name: str, value: str) -> None:
    given_value = VALUES[value]
    if not list(field_problems({name: given_value}, CONFIG_FIELDS)):
        json.dumps(given_value, allow_nan=False)


def test_a_good_folders_sizes_fit(good: Path) -> None:
    config = json.loads((good / CONFIG).read_bytes())
    assert not list(weights_misfits(config, weight_shapes(good)))
    for field in ("vocab_size", "hidden_size", "conv_kernel_size", "max_position_embeddings", "intermediate_size"):
        (problem,) = weights_misfits({**config, field: config[field] + 1}, weight_shapes(good))
        assert field in problem
