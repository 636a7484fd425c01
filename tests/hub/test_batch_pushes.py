"""A batch that publishes what it converted: once, and not again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from byteformer_convert.corenet.options import load_options
from byteformer_convert.demo import generated_weights

if TYPE_CHECKING:
    from tests.hub.client import Machine
    from tests.hub.server import Hub

pytestmark = pytest.mark.slow

YAML = """
dataset: {category: classification}
image_augmentation: {pil_save: {enable: true, file_encoding: fHWC}}
model:
  classification: {name: byteformer, n_classes: 3, byteformer: {max_num_tokens: 40, conv_kernel_size: 4}}
  activation: {name: gelu}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two entries, unchecked to be quick, each for a repository of its own."""
    (tmp_path / "a.yaml").write_text(YAML)
    torch.save(generated_weights(load_options(tmp_path / "a.yaml"), 0), tmp_path / "a.pt")
    push = {"repo_id": "ada/{name}", "private": True, "allow_unverified": True}
    defaults = {"config": "a.yaml", "weights": "a.pt", "skip_parity": True, "push": push}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"defaults": defaults, "entries": [{"name": "x"}, {"name": "y"}]}))
    return tmp_path / "m.yaml"


def run(machine: Machine, manifest: Path, **settings: str) -> tuple[int, dict[str, Any]]:
    command = ("-m", "byteformer_convert", "batch", str(manifest), "--output", str(manifest.parent / "out"), "--json")
    result = machine.run(*command, "--jobs", "2", **settings)
    return result.returncode, json.loads(result.stdout)


def test_each_entry_is_pushed_once(hub: Hub, machine: Machine, manifest: Path) -> None:
    code, document = run(machine, manifest)
    assert code == 0, document
    assert [(entry["status"], entry["push"]["changed"]) for entry in document["entries"]] == [("converted", True)] * 2
    assert set(hub.store.repos) == {"ada/x", "ada/y"}

    code, document = run(machine, manifest)
    assert code == 0, document
    assert [(entry["status"], entry["push"]["changed"]) for entry in document["entries"]] == [("skipped", False)] * 2


def test_a_push_that_failed_is_made_up_for_without_converting_again(hub: Hub, machine: Machine, manifest: Path) -> None:
    code, document = run(machine, manifest, HF_TOKEN="hf_wrong_UaIsFjHkCgTvXw")
    assert code == 6
    assert [entry["status"] for entry in document["entries"]] == ["converted"] * 2
    assert {entry["error"]["kind"] for entry in document["entries"]} == {"hub"}
    assert "hf_wrong" not in json.dumps(document)

    code, document = run(machine, manifest)
    assert code == 0, document
    assert [(entry["status"], entry["push"]["changed"]) for entry in document["entries"]] == [("skipped", True)] * 2
