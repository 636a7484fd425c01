"""A converted folder, pushed, then loaded by its name: the same bytes, the same logits, and the card's code works."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from byteformer_convert.conversion import Request, convert
from byteformer_convert.corenet.options import load_options
from byteformer_convert.corenet.published import config_path
from byteformer_convert.demo import generated_weights
from tests.small_world import WarmProcess

if TYPE_CHECKING:
    from byteformer_convert.parity.fresh_process import FreshProcess
    from tests.hub.client import Machine
    from tests.hub.server import Hub

pytestmark = pytest.mark.slow

NAME = "imagenet_jpeg_q60_k4_w128"
SMALLER = ("model.classification.byteformer.max_num_tokens=4000", "model.classification.n_classes=7")
STRANGER = Path(__file__).with_name("stranger.py")


@pytest.fixture(scope="module")
def converted(fresh_process: FreshProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real folder, with parity: the shape of a published checkpoint, fewer positions and classes."""
    place = tmp_path_factory.mktemp("published")
    config = place / f"{NAME}.yaml"
    shutil.copyfile(config_path(NAME), config)
    torch.save(generated_weights(load_options(config, SMALLER), seed=0), place / "w.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("byteformer_convert.checking.fresh_process", lambda: WarmProcess(fresh_process))
        convert(Request(config=config, weights=place / "w.pt", output=place / "folder", overrides=SMALLER))
    return place / "folder"


def test_a_stranger_gets_the_same_bytes_and_the_same_logits(
    hub: Hub, either: Machine, converted: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(converted, tmp_path / "folder"))
    pushed = either.push(folder, "ada/byteformer.tiny")
    assert pushed.returncode == 0, pushed.stderr

    output = tmp_path / "logits.safetensors"
    # Without PYTHONPATH, and with -P: this project cannot be imported there.
    result = either.run("-P", str(STRANGER), "ada/byteformer.tiny", str(folder), str(output), PYTHONPATH="")
    assert result.returncode == 0, result.stderr
    snapshot, classes = result.stdout.splitlines()
    for path in folder.iterdir():
        assert (Path(snapshot) / path.name).read_bytes() == path.read_bytes(), path.name
    logits = load_file(output)
    assert torch.equal(logits["remote"], logits["local"])
    assert logits["remote"].shape == (2, 7)
    assert [set(row) for row in ast.literal_eval(classes)] == [{"label", "score"}] * 5
    assert (hub.calls("GET", "/xet-read-token/") > 0) == either.xet
