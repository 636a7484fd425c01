"""CoreNet's checkpoint files, from any of the forms they come in to one state dict with CoreNet's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch

from byteformer_convert.corenet.adapter_folder import read_folder, read_safetensors, weight_files
from byteformer_convert.corenet.digest import sha256_of
from byteformer_convert.corenet.mapped_pages import MappedPages
from byteformer_convert.corenet.tensor_checks import checked_tensors, is_plain, names_list
from byteformer_convert.corenet.torch_file import Container, identify, load_torch_file
from byteformer_convert.errors import CheckpointError

WeightsKey = Literal["auto", "model", "ema"]
Kind = Literal["state dict", "training checkpoint", "adapter folder"]

_STATE_DICTS: Final = {"model": "model_state_dict", "ema": "ema_state_dict"}
_LABELS: Final = {"model": "model", "ema": "EMA"}
_PREFIXES: Final = ("module.", "model.")  # of DistributedDataParallel, of CoreNet's Hugging Face adapter
_TRAINING_NUMBERS: Final = ("epoch", "iterations", "best_metric")
_SAVE_STATE_DICT: Final = "CoreNet's own checkpoint_best.pt and checkpoint_ema_best.pt are state dicts."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One state dict out of a checkpoint, and where it came from.

    Attributes:
        path: The file, or the adapter's folder.
        size: Bytes of the file, or of the folder's weight files together.
        sha256: Of the file, or of the folder's weight files one after the other in the order of their names.
        kind: What CoreNet saved.
        container: The file format: torch's zip, torch's older legacy format, or safetensors.
        weights: Which weights these are: "state_dict" where the file holds only one set, else "model" or "ema".
        available: All sets of weights that the file holds.
        prefix: What every name in the file began with, and none here does: "", "module." (DDP) or "model." (adapter).
        tensors: CoreNet's names to tensors, on the CPU, finite, in their own dtype; mapped from disk where possible.
        training: epoch, iterations and best_metric where the file has them, as plain finite numbers.
    """

    path: Path
    size: int
    sha256: str
    kind: Kind
    container: Container
    weights: str
    available: tuple[str, ...]
    prefix: str
    tensors: Mapping[str, torch.Tensor]
    training: Mapping[str, Any]

    def choice_sentence(self) -> str:
        """Which weights were taken, and what else there was, as the end of "This took ..."."""
        if self.kind == "adapter folder":
            return "the weights of a folder that CoreNet's Hugging Face adapter saved"
        if self.kind == "state dict":
            return "the only weights in the file, a plain state dict"
        epoch = f" (epoch {self.training['epoch']})" if "epoch" in self.training else ""
        others = [name for name in self.available if name != self.weights]
        rest = f"the file also holds the {_LABELS[others[0]]} weights" if others else "the file holds no others"
        return f"the {_LABELS[self.weights]} weights of a training checkpoint{epoch}; {rest}"


@dataclass(frozen=True, slots=True)
class _Source:
    """What was read, before anything in it was chosen."""

    files: tuple[Path, ...]
    container: Container
    content: Any


@dataclass(frozen=True, slots=True)
class _Choice:
    """One of the state dicts that a file holds."""

    kind: Kind
    state: Mapping[Any, Any]
    weights: str = "state_dict"
    available: tuple[str, ...] = ("state_dict",)
    training: Mapping[str, float] = field(default_factory=dict)


def load_checkpoint(
    path: Path | str, weights_key: WeightsKey = "auto", sha256: Callable[[], str] | None = None
) -> Checkpoint:
    """Reads a checkpoint without running anything it holds.

    Args:
        path: A .pt file (state dict or training checkpoint), a .safetensors file, or a folder that CoreNet's Hugging
            Face adapter saved.
        weights_key: Which weights of a training checkpoint to take. `auto` takes the EMA weights where there are any,
            because those are what CoreNet evaluates; `model` and `ema` take those or fail.
        sha256: Waits for the file's, where somebody is computing it already; None to compute it here.

    Raises:
        CheckpointError: Whatever makes the file unusable: missing, cut off, another format, unsafe to read, without the
            weights asked for, without a state dict, or with tensors that no ByteFormer has (integers, NaN).
    """
    path = Path(path)
    is_folder = path.is_dir()
    source = _read_folder(path) if is_folder else _read_file(path)
    choice = _choose(source.content, weights_key, is_folder, path.name)
    pages = MappedPages(path, filter(is_plain, choice.state.values()))
    tensors, prefix = _without_prefix(checked_tensors(choice.state, where=path.name, read=pages.read))
    return Checkpoint(
        path=path,
        size=sum(file.stat().st_size for file in source.files),
        sha256=_sha256(source.files) if sha256 is None else sha256(),
        kind=choice.kind,
        container=source.container,
        weights=choice.weights,
        available=choice.available,
        prefix=prefix,
        tensors=tensors,
        training=choice.training,
    )


def _sha256(files: tuple[Path, ...]) -> str:
    with sha256_of(files) as sha256:
        return sha256()


def _read_folder(folder: Path) -> _Source:
    return _Source(weight_files(folder), "safetensors", read_folder(folder))


def _read_file(path: Path) -> _Source:
    container = identify(path)
    content = read_safetensors(path) if container == "safetensors" else load_torch_file(path, container)
    return _Source((path,), container, content)


def _choose(content: Any, weights_key: WeightsKey, is_folder: bool, where: str) -> _Choice:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"it holds {_noun(content)}, not a state dict.", where=where, hint=_SAVE_STATE_DICT)
    if any(key in content for key in _STATE_DICTS.values()):
        return _choose_from_training(content, weights_key, where)
    if content and not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise _no_state_dict(content, where)
    if weights_key != "auto":
        raise CheckpointError(
            f"it holds one state dict only, and does not say whether those are the {_LABELS[weights_key]} weights.",
            where=where,
            hint="Leave --weights-key out: there is nothing to choose from.",
        )
    return _Choice("adapter folder" if is_folder else "state dict", content)


def _choose_from_training(content: Mapping[Any, Any], weights_key: WeightsKey, where: str) -> _Choice:
    available = tuple(name for name, key in _STATE_DICTS.items() if content.get(key) is not None)
    wanted = weights_key if weights_key != "auto" else "ema" if "ema" in available else "model"
    if wanted not in available:
        held = " and ".join(f"{_LABELS[name]} weights ({_STATE_DICTS[name]})" for name in available) or "no weights"
        raise CheckpointError(
            f"this training checkpoint holds no {_LABELS[wanted]} weights ({_STATE_DICTS[wanted]}); it holds {held}.",
            where=where,
            hint="CoreNet saves EMA weights only where ema.enable is true." if wanted == "ema" else None,
        )
    state = content[_STATE_DICTS[wanted]]
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{_STATE_DICTS[wanted]} is {_noun(state)}, not a state dict.", where=where)
    return _Choice("training checkpoint", state, wanted, available, dict(_training_numbers(content)))


def _no_state_dict(content: Mapping[Any, Any], where: str) -> CheckpointError:
    nested = [key for key, value in content.items() if isinstance(value, Mapping)]
    hint = _SAVE_STATE_DICT
    if nested:
        hint = (
            f"Another tool than CoreNet wrote this. If its {nested[0]!r:.60} are the weights, save them alone: "
            f"torch.save(torch.load({where!r})[{nested[0]!r:.60}], 'out.pt')."
        )
    return CheckpointError(
        f"it is no state dict and no training checkpoint of CoreNet: its keys are {names_list(list(content))}.",
        where=where,
        hint=hint,
    )


def _training_numbers(content: Mapping[Any, Any]) -> Iterator[tuple[str, float]]:
    for name in _TRAINING_NUMBERS:
        value = content.get(name)
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield name, value


def _without_prefix(tensors: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
    """Names without a prefix that all of them share; CoreNet has no module of either name."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix
    return tensors, ""


def _noun(content: Any) -> str:
    if isinstance(content, torch.Tensor):
        return f"one tensor of shape {list(content.shape)}"
    return f"a {type(content).__name__}" + (f" of {len(content)}" if isinstance(content, (list, tuple)) else "")
