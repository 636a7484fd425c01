"""The README's examples are what the program understands: the manifest, the workflow, every option in a command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml

from byteformer_convert.batch.manifest import KEYS, read_manifest
from byteformer_convert.cli import app
from byteformer_convert.corenet.published import PUBLISHED

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def block_with(language: str, words: str) -> str:
    (found,) = (block for block in blocks(language) if words in block)
    return found


def commands() -> list[str]:
    """Every command line in a shell block or a workflow step that calls this program."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    lines += [step["run"] for step in steps() if "run" in step]
    found = [re.search(r"byteformer-convert ([a-z].*?)(?:'|$)", line.partition("   #")[0]) for line in lines]
    return [match[1].partition(" > ")[0] for match in found if match and "pip install" not in match.string]


def steps() -> list[dict[str, str]]:
    workflow = yaml.safe_load(block_with("yaml", "runs-on"))
    return list(workflow["jobs"]["publish"]["steps"])


def test_the_manifest_can_be_read(tmp_path: Path) -> None:
    for run in ("lr1/run_1", "lr2/run_1"):
        (tmp_path / "sweep" / run).mkdir(parents=True)
        for name in ("config.yaml", "checkpoint_ema_best.pt"):
            (tmp_path / "sweep" / run / name).touch()
    (tmp_path / "sweep.yaml").write_text(block_with("yaml", "entries:"))
    entries = read_manifest(tmp_path / "sweep.yaml")
    assert [entry.name for entry in entries] == ["lr1-run_1", "lr2-run_1", "ours", "imagenet_tiff"]
    assert entries[0].push == {"repo_id": "me/byteformer-lr1-run_1", "private": True}
    assert entries[3].published in PUBLISHED


def test_the_keys_of_an_entry_are_all_named() -> None:
    (sentence,) = re.findall(r"An entry takes the options.*?\.\n", README, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) - {"convert"} == KEYS.keys() - {"runs", "push"}


def test_there_are_commands_to_look_at() -> None:
    assert {"convert", "verify", "push-to-hub", "batch", "to-corenet", "published"} <= {
        command.split()[0] for command in commands()
    }


@pytest.mark.parametrize("command", commands())
def test_every_command_has_the_options_that_the_readme_gives_it(command: str) -> None:
    name, *arguments = shlex.split(command)
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options
