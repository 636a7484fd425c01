"""The command line: exit codes, one JSON document on stdout, talk on stderr, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from byteformer_convert.cli import app
from tests.small_world import changed_weights, contents, weights_for

World = tuple[Path, Path]
ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "byteformer_convert"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def source(world: World) -> list[str | Path]:
    return ["--config", world[0], "--weights", world[1]]


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT} | options
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **options)


def documents(text: str) -> dict[str, Any]:
    """The one document on stdout."""
    content: dict[str, Any] = json.loads(text)
    assert content["schema_version"] == 1
    return content


@pytest.fixture(scope="module")
def folder(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("cli") / "folder"
    assert run("convert", *source(small_world), "--output", output, "--skip-parity").exit_code == 0
    return output


# --- convert ---


@pytest.mark.usefixtures("warm")
def test_convert_says_what_it_did(small_world: World, tmp_path: Path) -> None:
    result = run("convert", *source(small_world), "--output", tmp_path / "out")
    assert result.exit_code == 0
    assert "169 of 169 tensors equal bit for bit" in result.stdout
    assert "parity holds." in result.stdout
    assert "note: Took the only weights in the file, a plain state dict." in result.stderr
    assert "Reading the checkpoint" in result.stderr
    assert "note:" not in result.stdout


@pytest.mark.usefixtures("warm")
def test_convert_json_is_one_document(small_world: World, tmp_path: Path) -> None:
    result = run("convert", *source(small_world), "--output", tmp_path / "out", "--json")
    document = documents(result.stdout)
    report = json.loads((tmp_path / "out" / "conversion_report.json").read_text())
    assert document["parity"] == report["parity"]
    assert "measured" not in report  # it is another on every machine
    assert [case["name"] for case in document["measured"]["cases"]] == [
        case["name"] for case in report["parity"]["cases"]
    ]
    assert {file["name"] for file in document["files"]} == {path.name for path in (tmp_path / "out").iterdir()}
    assert document["notes"][0] == "Took the only weights in the file, a plain state dict."
    assert "Reading the checkpoint" in result.stderr


def test_quiet_is_quiet(small_world: World, tmp_path: Path) -> None:
    result = run("convert", *source(small_world), "--output", tmp_path / "out", "--skip-parity", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_skipped_parity_is_said_and_recorded(folder: Path, small_world: World, tmp_path: Path) -> None:
    result = run("convert", *source(small_world), "--output", tmp_path / "out", "--skip-parity")
    assert "parity was not checked." in result.stdout
    assert "nothing shows that the folder computes what CoreNet computes" in result.stderr
    assert json.loads((folder / "conversion_report.json").read_text())["parity"]["verdict"] == "skipped"
    assert "The check was skipped" in (folder / "README.md").read_text()


def test_a_training_checkpoints_choice_is_printed(small_world: World, tmp_path: Path) -> None:
    state = weights_for(small_world[0])
    torch.save({"epoch": 3, "model_state_dict": state, "ema_state_dict": state}, tmp_path / "t.pt")
    arguments = ["convert", "--config", small_world[0], "--weights", tmp_path / "t.pt", "--skip-parity", "--output"]
    result = run(*arguments, tmp_path / "out")
    assert "Took the EMA weights of a training checkpoint (epoch 3); the file also holds the model" in result.stderr
    assert run(*arguments, tmp_path / "model", "--weights-key", "model").exit_code == 0
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "t.pt")
    result = run(*arguments, tmp_path / "ema", "--weights-key", "ema")
    assert result.exit_code == 3
    assert "holds no EMA weights" in result.stderr


# --- exit codes ---


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["--atol", "0"], 2, "usage"),
        (["--max-shard-size", "many"], 2, "usage"),
        (["--config", "{tmp}/none.yaml"], 3, "options"),
        (["--weights", "{tmp}/none.pt"], 3, "checkpoint"),
        (["--labels", "{tmp}/none.txt"], 3, "labels"),
        (["--override", "model.classification.n_classes=7"], 3, "mapping"),
        (["--override", "model.classification.byteformer.mode=medium"], 3, "options"),
        (["--output", "{tmp}"], 5, "output"),
        (["--output", "{tmp}", "--force"], 5, "output"),
        (["--output", "{tmp}/file/out"], 5, "output"),
        (["--output", "{tmp}/file"], 5, "output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_have_their_exit_code_and_are_documents_too(
    small_world: World, tmp_path: Path, arguments: Sequence[str], code: int, kind: str
) -> None:
    (tmp_path / "file").write_text("somebody's")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    options = ["convert", *source(small_world), "--output", tmp_path / "out", "--skip-parity", *filled]
    result = run(*options, "--json")
    assert result.exit_code == code
    error = documents(result.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, code)
    assert error["message"] in result.stderr
    assert run(*options, "--quiet").stderr.strip()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "somebody's"


def test_a_missing_option_is_a_usage_error() -> None:
    result = run("convert")
    assert result.exit_code == 2
    assert "Missing option '--output'" in result.stderr
    assert result.stdout == ""


def test_every_mismatch_is_in_the_table_and_in_the_document(small_world: World, tmp_path: Path) -> None:
    def damage(state: dict[str, torch.Tensor]) -> None:
        del state["transformer.3.pre_norm_ffn.1.bias"]
        state["classifier.weight"] = torch.zeros(7, 192)

    weights = changed_weights(small_world[1], tmp_path / "w.pt", damage)
    options = ["convert", "--config", small_world[0], "--weights", weights, "--output", tmp_path / "out"]
    result = run(*options, "--skip-parity", "--json")
    assert result.exit_code == 3
    problems = [mismatch["problem"] for mismatch in documents(result.stdout)["error"]["mismatches"]]
    assert problems == ["missing", "shape"]
    assert "transformer.{i}.pre_norm_ffn.1.bias" in result.stderr
    assert "the checkpoint has 7 classes" in result.stderr


@pytest.mark.usefixtures("warm")
def test_a_conversion_without_parity_exits_with_4_and_leaves_nothing(
    small_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from byteformer_convert.mapping import config

    original = config.model_fields
    monkeypatch.setattr(config, "model_fields", lambda options: original(options) | {"hidden_act": "relu"})
    result = run("convert", *source(small_world), "--output", tmp_path / "out", "--json")
    assert result.exit_code == 4
    error = documents(result.stdout)["error"]
    assert error["kind"] == "parity"
    assert "first stage that leaves its tolerance is transformer.0" in error["message"]
    assert error["parity"]["verdict"] == "failed"
    assert "FAILS" in result.stderr
    assert list(tmp_path.iterdir()) == []


# --- force ---


def test_force_replaces_a_folder_of_ours(small_world: World, folder: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(folder, tmp_path / "out"))
    (output / "model.safetensors").write_bytes(b"old")
    options = ["convert", *source(small_world), "--output", output, "--skip-parity"]
    result = run(*options)
    assert result.exit_code == 5
    assert "is there already" in result.stderr
    assert (output / "model.safetensors").read_bytes() == b"old"
    assert run(*options, "--force").exit_code == 0
    assert contents(output) == contents(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failing_conversion_spares_the_old_folder(small_world: World, folder: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(folder, tmp_path / "out"))
    options = ["convert", *source(small_world), "--output", output, "--skip-parity", "--force"]
    assert run(*options, "--override", "model.classification.n_classes=9").exit_code == 3
    assert contents(output) == contents(folder)


@pytest.mark.parametrize("name", ["with space", "=[,]", "中文", "[bold]x[/bold]", ":smile:", "-dash"])
def test_a_path_is_a_path_whatever_is_in_it(small_world: World, tmp_path: Path, name: str) -> None:
    result = run("convert", *source(small_world), f"--output={tmp_path / name}", "--skip-parity")
    assert result.exit_code == 0
    assert f"{name}: parity was not checked." in result.stdout
    assert (tmp_path / name / "config.json").is_file()
    assert run("convert", *source(small_world), f"--output={tmp_path / name}").stderr.startswith(
        f"error: {tmp_path / name}: is there already."
    )


# --- verify, inspect ---


@pytest.mark.usefixtures("warm")
def test_verify_passes_and_fails(small_world: World, folder: Path, tmp_path: Path) -> None:
    result = run("verify", folder, *source(small_world))
    assert result.exit_code == 0
    assert "parity holds." in result.stdout
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "tanh"}))
    result = run("verify", copy, *source(small_world), "--json")
    assert result.exit_code == 4
    document = documents(result.stdout)
    assert document["passed"] is False
    assert document["config_differences"] == ["config.json says hidden_act 'tanh', the source asks for 'gelu'"]
    assert "hidden_act 'tanh'" in result.stderr
    assert "first stage that leaves its tolerance is transformer.0" in result.stderr


def test_verify_wants_a_yaml_and_does_not_run_changed_code(small_world: World, folder: Path, tmp_path: Path) -> None:
    assert run("verify", folder, "--weights", small_world[1]).exit_code == 2
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "extra.py").write_text("raise SystemExit\n")
    result = run("verify", copy, *source(small_world))
    assert result.exit_code == 3
    assert "holds code that is not this version's, or leads to such: extra.py" in result.stderr
    assert "--trust-remote-code" in result.stderr


def test_inspect_shows_what_maps_to_what(small_world: World, folder: Path) -> None:
    for arguments in (["--config", small_world[0]], ["--weights", small_world[1]], source(small_world), [folder]):
        result = run("inspect", *arguments)
        assert result.exit_code == 0
        assert "parameters in all." in result.stdout
        assert documents(run("inspect", *arguments, "--json").stdout)["convertible"] is True


def test_inspect_exits_with_3_where_the_two_do_not_fit(small_world: World) -> None:
    override = ["--override", "model.classification.byteformer.max_num_tokens=61"]
    result = run("inspect", *source(small_world), *override)
    assert result.exit_code == 3
    assert "What does not fit" in result.stdout
    assert documents(run("inspect", *source(small_world), *override, "--json").stdout)["convertible"] is False


# --- as a program ---


def test_help_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from byteformer_convert.cli import app; app(['convert', '--help'], standalone_mode=False);"
        "print(sorted(sys.modules.keys() & {'torch', 'transformers', 'safetensors', 'numpy'}), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert "Example: byteformer-convert convert" in result.stdout
    assert result.stderr == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&- 2>&-", 0, ""),
        ("2>&1 >/dev/full", 5, "error: standard output: cannot be written: No space left on device."),
        (">/dev/null 2>/dev/full", 0, ""),
        ("2>/dev/null | head -1", 0, "c.yaml and w.pt"),
        ("--json 2>/dev/null | head -c 1", 0, "{"),
    ],
)
def test_output_that_goes_nowhere_is_no_traceback(small_world: World, redirection: str, code: int, said: str) -> None:
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = " ".join([*COMMAND, "inspect", *map(str, source(small_world)), redirection])
    script = f"set -o pipefail; {command}"
    result = subprocess.run(["bash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    assert said in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_an_encoding_without_the_letters_is_no_traceback(small_world: World) -> None:
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, "inspect", *map(str, source(small_world))]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0
    assert r"257\xd7192" in result.stdout


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited for a minute")


def children(pid: int) -> list[int]:
    """Processes that another one started."""
    result = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in result.stdout.split()]


def alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir() or shutil.which("ps") is None, reason="needs /proc and ps")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGKILL])
def test_a_conversion_that_is_stopped_leaves_the_old_folder_and_no_process(
    small_world: World, folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    output = Path(shutil.copytree(folder, tmp_path / "out"))
    scratch = tmp_path_factory.mktemp("scratch")
    environment = ENVIRONMENT | {"TMPDIR": str(scratch)}
    process = start("convert", *source(small_world), "--output", output, "--force", "--json", env=environment)
    wait_for(lambda: children(process.pid) and list(tmp_path.glob(".out.partial-*/model.safetensors")))
    started = children(process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert started
    wait_for(lambda: not any(map(alive, started)))
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), err.decode()
    assert list(scratch.iterdir()) == []
    assert contents(output) == contents(folder)
    if number == signal.SIGKILL:
        assert list(tmp_path.glob(".out.partial-*"))
        assert run("convert", *source(small_world), "--output", output, "--force", "--skip-parity").exit_code == 0
    else:
        assert documents(out.decode())["error"]["kind"] == "interrupted"
        assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


STOPPED_IN = """
import os, signal, time
import byteformer_convert.cli as cli

def stop():
    os.kill(os.getpid(), signal.SIGINT)

class Gone:
    def __del__(self):
        stop()

def finalizer():
    Gone()

def foreign_code():
    try:
        stop()
        time.sleep(1)
    except:
        pass

def unrelated_handler():
    foreign_code()
    try:
        raise ImportError
    except ImportError:
        time.sleep(0.2)

def command():
    {place}()
    for _ in range(1000):
        time.sleep(0.01)

cli.app = command
cli.main()
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")
@pytest.mark.parametrize("place", ["finalizer", "foreign_code", "unrelated_handler"])
def test_an_interrupt_that_is_dropped_on_its_way_is_sent_again(place: str) -> None:
    code = STOPPED_IN.format(place=place)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (130, b"")


@pytest.mark.slow
def test_two_conversions_to_one_target_leave_one_whole_folder(small_world: World, folder: Path, tmp_path: Path) -> None:
    options = ["convert", *source(small_world), "--output", tmp_path / "out", "--skip-parity"]
    both = [start(*options), start(*options)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert b"Traceback" not in b"".join(said)
    assert sorted(process.returncode for process in both) == [0, 5]
    assert contents(tmp_path / "out") == contents(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_full_disk_is_an_output_error(small_world: World, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk")
    try:
        result = run("convert", *source(small_world), "--output", disk / "out", "--skip-parity")
        left = list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert result.exit_code == 5
    assert "No space left on device" in result.stderr
    assert "Free some space" in result.stderr
    assert left == []


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(tmp_path: Path) -> None:
    result = run("demo", "--output", tmp_path / "demo", "--json")
    assert result.exit_code == 0
    document = documents(result.stdout)
    assert document["conversion"]["parity"]["verdict"] == "passed"
    assert document["classified"]["file"] == "sample.jpg"
    assert len(document["classified"]["top"]) == 5
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["converted", "corenet"]
    again = run("demo", "--output", tmp_path / "demo", "--json")
    assert again.exit_code == 5
    assert documents(again.stdout)["error"]["kind"] == "output"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["imagenet_jpeg_q60/conv_kernel_size=4,window_sizes=[128].yaml", "speech_commands_mp3"]
)
def test_corenets_own_yamls_convert_at_full_size(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "corenet_configs" / name
    config = path if path.is_file() else sorted(path.glob("*.yaml"))[0]
    torch.save(weights_for(config), tmp_path / "w.pt")
    result = run("convert", "--config", config, "--weights", tmp_path / "w.pt", "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0
    parity = documents(result.stdout)["parity"]
    assert parity["verdict"] == "passed"
    assert parity["left_out"] == []
