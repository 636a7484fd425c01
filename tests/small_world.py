"""A CoreNet checkpoint as small as one gets (mode tiny has 12 layers), its YAML, and a process that stays warm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from byteformer_convert.corenet.options import load_options
from byteformer_convert.demo import generated_weights

if TYPE_CHECKING:
    from torch import Tensor

    from byteformer_convert.parity.fresh_process import FreshProcess

SHIFTS = [0, 16] * 6


def write_yaml(
    path: Path, *, activation: str = "gelu", n_classes: int = 5, task: str = "image", **changes: Any
) -> Path:
    """A YAML of CoreNet's; `changes` are keys under model.classification.byteformer."""
    byteformer = {
        "mode": "tiny",
        "max_num_tokens": 60,
        "conv_kernel_size": 4,
        "window_sizes": [32],
        "window_shifts": SHIFTS,
    }
    model: dict[str, Any] = {
        "classification": {"name": "byteformer", "n_classes": n_classes, "byteformer": byteformer | changes},
        "activation": {"name": activation},
    }
    content: dict[str, Any] = {"model": model}
    if task == "audio":
        model["audio_classification"] = {"name": "byteformer"}
        content["dataset"] = {"category": "audio_classification"}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def weights_for(config: Path, seed: int = 0) -> dict[str, Tensor]:
    """A state dict that fits the YAML."""
    return generated_weights(load_options(config), seed)


def write_world(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """`c.yaml` and `w.pt` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = write_yaml(folder / "c.yaml", **changes)
    weights = folder / "w.pt"
    torch.save(weights_for(config), weights)
    return config, weights


def changed_weights(source: Path, target: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """A copy of a checkpoint with something done to its state dict."""
    state = torch.load(source, weights_only=True)
    change(state)
    torch.save(state, target)
    return target


class WarmProcess:
    """Stands in for FreshProcess in the pipeline: one real process for many checks, whose imports cost seconds."""

    def __init__(self, process: FreshProcess) -> None:
        self.process = process

    def __enter__(self) -> FreshProcess:
        return self.process

    def __exit__(self, *exception: object) -> None:
        pass


def contents(folder: Path) -> Mapping[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
