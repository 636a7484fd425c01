"""What must hold for the tensors of a state dict before anything else looks at them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch

from byteformer_convert.errors import CheckpointError

DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LONGEST_NAME: Final = 120
MOST_TENSORS: Final = 2000  # no ByteFormer of CoreNet has more than 519; each one more is looked at, compared and drawn
_PLAIN: Final = (torch.Tensor, torch.nn.Parameter)
_SHOWN: Final = 5
_COUNTED_AT_ONCE: Final = 1 << 22


def checked_tensors(
    state: Mapping[Any, Any], *, where: str, read: Callable[[int], object] | None = None
) -> dict[str, torch.Tensor]:
    """The state dict with plain tensors, none of them copied.

    Args:
        state: What the file holds.
        where: The file's name, for errors.
        read: Is told how many bytes were looked through, tensor by tensor.

    Raises:
        CheckpointError: No entries, or too many; names that are not text, or cannot be shown; values that are not plain
            CPU tensors of fp16, bf16, fp32 or fp64; tensors without values; NaN or infinity. Every such entry is
            counted, the first few are named.
    """
    if not state:
        raise CheckpointError("this state dict is empty.", where=where)
    if len(state) > MOST_TENSORS:
        raise CheckpointError(
            f"this state dict has {len(state):,} entries, and no ByteFormer has more than {MOST_TENSORS:,}.",
            where=where,
        )
    problems: dict[str, list[str]] = {}
    for name, value in state.items():
        if problem := _problem(name, value):
            problems.setdefault(problem[0], []).append(f"{shown_name(name)}{problem[1]}")
        elif read is not None:
            read(value.numel() * value.element_size())
    if problems:
        listed = "; ".join(f"{problem}: {names_list(names)}" for problem, names in problems.items())
        raise CheckpointError(f"it holds {listed}.", where=where)
    return {name: value.detach().resolve_neg() for name, value in state.items()}


def cast_tensors(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype, *, where: str) -> dict[str, torch.Tensor]:
    """The tensors in another dtype; those that have it are not copied.

    Raises:
        CheckpointError: They hold values that the dtype cannot hold, which would become infinite.
    """
    cast = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    too_large = [name for name, tensor in cast.items() if tensors[name].dtype != dtype and not is_finite(tensor)]
    if too_large:
        raise CheckpointError(
            f"it holds values beyond {torch.finfo(dtype).max:g}, the largest in {str(dtype).removeprefix('torch.')}: "
            f"{names_list(too_large)}.",
            where=where,
            hint=None if dtype == torch.float32 else "Give --dtype float32.",
        )
    return cast


def is_plain(value: Any) -> bool:
    """Whether it is a dense tensor on the CPU, of no subclass but Parameter."""
    return type(value) in _PLAIN and _not_plain(value) is None


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    # aminmax hands NaN on and allocates nothing, so a mapped file of gigabytes stays on disk.
    low, high = torch.aminmax(tensor)
    return math.isfinite(low.item()) and math.isfinite(high.item())


def names_list(names: Sequence[Any]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shown_name(name) for name in names[:_SHOWN]) + more


def shown_name(name: Any) -> str:
    """A name that a file gives to something, cut short, in one line."""
    text = ascii(name)[1:-1] if isinstance(name, str) and not name.isprintable() else str(name)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def _problem(name: Any, value: Any) -> tuple[str, str] | None:
    """What is wrong with an entry, and a note to its name; None if nothing is."""
    if not isinstance(name, str):
        return "names that are not text", f" ({type(name).__name__})"
    if not name.isprintable() or len(name) > LONGEST_NAME:
        return "names that cannot be shown", ""
    if type(value) not in _PLAIN:
        return "values that are not tensors", f" ({type(value).__name__})"
    for problem, found in _TENSOR_PROBLEMS:
        if (note := found(value)) is not None:
            return problem, note
    return None


def _not_plain(tensor: torch.Tensor) -> str | None:
    if tensor.is_quantized:
        return " (quantized)"
    if tensor.layout is not torch.strided:
        return f" ({str(tensor.layout).removeprefix('torch.')})"
    return f" ({tensor.device.type})" if tensor.device.type != "cpu" else None


def _not_floating(tensor: torch.Tensor) -> str | None:
    return None if tensor.dtype in DTYPES else f" ({str(tensor.dtype).removeprefix('torch.')})"


def _no_values(tensor: torch.Tensor) -> str | None:
    return None if tensor.numel() else f" {list(tensor.shape)}"


def _more_than_stored(tensor: torch.Tensor) -> str | None:
    """A few bytes can pose as any shape with stride 0; looking through such a tensor could take for ever."""
    claimed = tensor.numel() * tensor.element_size()
    return f" {list(tensor.shape)}" if claimed > tensor.untyped_storage().nbytes() else None


def _not_finite(tensor: torch.Tensor) -> str | None:
    if is_finite(tensor):
        return None
    pieces = tensor.detach().flatten().split(_COUNTED_AT_ONCE)
    return f" ({sum(int((~torch.isfinite(piece)).sum()) for piece in pieces)} of {tensor.numel()} values)"


_TENSOR_PROBLEMS: Final[tuple[tuple[str, Callable[[torch.Tensor], str | None]], ...]] = (
    ("tensors that are not plain and on the CPU", _not_plain),
    ("tensors that are not fp16, bf16, fp32 or fp64", _not_floating),
    ("tensors without values", _no_values),
    ("tensors that claim more values than the file holds", _more_than_stored),
    ("NaN or infinity", _not_finite),
)
