"""The golden cases of tests/golden as typed values (what they are: tests/golden/README.md)."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from tests.golden_weights import draw_state_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
SETS = ("forward", "options")


@dataclass(frozen=True, slots=True)
class Stage:
    """What CoreNet had after one stage: `std` is unbiased, `first` the first six values of the flattened tensor."""

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    first: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step in training mode with all dropout off: cross-entropy of the logits, 2-norm of every gradient."""

    labels: tuple[int, ...]
    loss: float
    grad_norm: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One input through one CoreNet model."""

    name: str
    why: str
    yaml: str
    architecture: Mapping[str, Any]  # CoreNet's options as its parser resolves them, by the reference's argument names
    parameters: Mapping[str, tuple[int, ...]]  # names and shapes of CoreNet's whole state dict, in its order
    buffers: tuple[str, ...]
    weights_seed: int
    zero_pad_row: bool
    input_ids: Tensor  # (batch, bytes) int16
    logits: Tensor  # (batch, n_classes) float32
    stages: tuple[Stage, ...]  # without the logits
    train: TrainingStep | None

    def ids(self) -> Tensor:
        """The input as a model takes it, (batch, bytes) int64 padded with -1; a fresh copy each time."""
        return self.input_ids.long()

    def state_dict(self) -> dict[str, Tensor]:
        """CoreNet's state dict, fresh tensors each time."""
        drawn = {name: shape for name, shape in self.parameters.items() if name not in self.buffers}
        arrays = draw_state_dict(drawn, self.weights_seed, zero_pad_row=self.zero_pad_row)
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return state | {name: sinusoids(self.parameters[name]) for name in self.buffers}


def sinusoids(shape: tuple[int, ...]) -> Tensor:
    """CoreNet's fixed positions, (1, 1, rows, channels); written once more, so that no port is checked by itself."""
    rows, channels = shape[2:]
    half = channels // 2
    rates = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    angle = torch.outer(torch.arange(rows).float(), rates)
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1).reshape(shape)


@functools.cache
def golden_cases() -> Mapping[str, GoldenCase]:
    """All cases by name."""
    return {case.name: case for name in SETS for case in read_set(name)}


def read_set(name: str) -> list[GoldenCase]:
    """The cases of one pair of files."""
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    return [read_case(entry, tensors) for entry in json.loads((GOLDEN / f"{name}.json").read_text())]


def read_case(entry: dict[str, Any], tensors: Mapping[str, Tensor]) -> GoldenCase:
    """One case from its JSON object and the tensors of its set."""
    train = entry.get("train")
    return GoldenCase(
        name=entry["name"],
        why=entry["why"],
        yaml=entry["yaml"],
        architecture=entry["architecture"],
        parameters={name: tuple(shape) for name, shape in entry["parameters"].items()},
        buffers=tuple(entry["buffers"]),
        weights_seed=entry["weights_seed"],
        zero_pad_row=entry["zero_pad_row"],
        input_ids=tensors[f"{entry['name']}.input_ids"],
        logits=tensors[f"{entry['name']}.logits"],
        stages=tuple(read_stage(stage) for stage in entry["stages"]),
        train=train and TrainingStep(tuple(train["labels"]), train["loss"], train["grad_norm"]),
    )


def read_stage(entry: dict[str, Any]) -> Stage:
    """One stage from its JSON object."""
    return Stage(entry["stage"], tuple(entry["shape"]), entry["mean"], entry["std"], tuple(entry["first"]))
