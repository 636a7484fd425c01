"""The process in which a folder is tried: it has transformers, and neither this package nor a network."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from byteformer_convert.conversion import Request, convert
from byteformer_convert.errors import MachineError, ParityError
from byteformer_convert.parity.fresh_process import FreshProcess

pytestmark = pytest.mark.slow
AUTO = "AutoModelForImageClassification"
INPUTS = {"a": torch.arange(40).reshape(1, 40)}


@pytest.fixture(scope="module")
def folder(small_world: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("fresh") / "folder"
    convert(Request(config=small_world[0], weights=small_world[1], output=output, skip_parity=True))
    return output


def with_code(folder: Path, target: Path, code: str) -> Path:
    """A copy whose model file runs `code` when it is imported."""
    shutil.copytree(folder, target)
    model = target / "modeling_byteformer.py"
    model.write_text(f"{model.read_text()}\n{code}\n")
    return target


def test_the_users_home_stays_empty_and_nothing_of_ours_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "HF_MODULES_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = sorted(path.name for path in folder.iterdir())
    with FreshProcess() as process:
        logits = process.start_logits(folder, INPUTS, auto_class=AUTO)()
        child = process._process
        assert list(scratch.iterdir())
    assert logits["a"].shape == (1, 5)
    assert logits["a"].dtype == torch.float32
    assert list(home.iterdir()) == []
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == before
    assert child.poll() is not None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import byteformer_convert", "byteformer_convert is hidden from the process"),
        ("from byteformer_convert.errors import OutputError", "byteformer_convert.* is hidden from the process"),
        ("raise RuntimeError('this folder raises')", "RuntimeError: this folder raises"),
        (
            "import huggingface_hub; huggingface_hub.HfApi().whoami(token='x')",
            "offline|Offline",
        ),
    ],
    ids=["package", "package from", "raises", "network"],
)
def test_a_folder_whose_code_cannot_run_is_a_parity_error(
    folder: Path, tmp_path: Path, fresh_process: FreshProcess, code: str, message: str
) -> None:
    # A name of its own: a process keeps the modules of a folder that it has loaded.
    target = with_code(folder, tmp_path / f"bad {tmp_path.name}", code)
    with pytest.raises(ParityError, match=message):
        fresh_process.start_logits(target, INPUTS, auto_class=AUTO)()


def test_a_folder_whose_code_ends_the_process_is_a_parity_error(folder: Path, tmp_path: Path) -> None:
    target = with_code(folder, tmp_path / "deadly", "import os; os._exit(7)")
    with FreshProcess() as process, pytest.raises(ParityError, match="ended early: exit code 7"):
        process.start_logits(target, INPUTS, auto_class=AUTO)()


def test_what_a_folder_prints_does_not_mix_with_the_answers(
    folder: Path, fresh_process: FreshProcess, tmp_path: Path
) -> None:
    target = with_code(folder, tmp_path / "chatty", "print('hello')")
    assert fresh_process.start_logits(target, INPUTS, auto_class=AUTO)()["a"].shape == (1, 5)


def test_a_tensor_that_would_stay_random_is_an_error(folder: Path, fresh_process: FreshProcess, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    target = Path(shutil.copytree(folder, tmp_path / "lacking"))
    tensors = load_file(target / "model.safetensors")
    del tensors["byteformer.layernorm.weight"]
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ParityError, match=r"do not fill its model: .*byteformer\.layernorm\.weight"):
        fresh_process.start_logits(target, INPUTS, auto_class=AUTO)()


def test_the_config_is_read_with_its_defaults(folder: Path, fresh_process: FreshProcess, tmp_path: Path) -> None:
    target = Path(shutil.copytree(folder, tmp_path / "trimmed"))
    content = json.loads((target / "config.json").read_text())
    del content["hidden_act"]
    (target / "config.json").write_text(json.dumps(content | {"window_sizes": 32}))
    fields = fresh_process.config(target, ["hidden_act", "window_sizes", "nothing"])
    assert fields == {"hidden_act": "gelu", "window_sizes": [32] * 12, "nothing": None}


@pytest.mark.parametrize("name", ["with space", "=[,]", "[bold]", "中文", "a.b-c", "import", "1"])
def test_a_folder_loads_whatever_its_name(folder: Path, fresh_process: FreshProcess, tmp_path: Path, name: str) -> None:
    target = Path(shutil.copytree(folder, tmp_path / name))
    wait = fresh_process.start_logits(target, INPUTS, auto_class=AUTO)
    assert wait()["a"].isfinite().all()


def test_the_process_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    process = FreshProcess()
    assert process._process.stdin is not None
    process._process.stdin.close()  # what the system does when we are killed
    assert process._process.wait(60) == 0
    process._process.stdin = open(os.devnull, "wb")  # noqa: PTH123, SIM115
    process.__exit__()


@pytest.mark.parametrize("error", ["MemoryError()", 'RuntimeError("can\'t start new thread")'])
def test_what_the_machine_lacks_is_not_the_folders_fault(folder: Path, tmp_path: Path, error: str) -> None:
    poor = with_code(folder, tmp_path / "poor", f"raise {error}")
    with FreshProcess() as process, pytest.raises(MachineError):
        process.start_logits(poor, INPUTS, auto_class=AUTO)()
