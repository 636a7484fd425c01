"""Fewer rows of the position table: the published tables have 50,000 where a JPEG needs 4,000 to 25,000.

A file of t tokens reads the first t rows and nothing else, so the rows behind are of no consequence to files that fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from byteformer_convert.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from byteformer_convert.corenet.options import CoreNetOptions

POSITIONS: Final = "pos_embed.pos_embed.pos_embed"


def trimmed(options: CoreNetOptions, rows: int | None) -> CoreNetOptions:
    """The options of the same model with only the first `rows` positions; None keeps all.

    Raises:
        UsageError: There are not so many, or less than one is asked for.
    """
    if rows is None:
        return options
    if not 1 <= rows <= options.max_num_tokens:
        raise UsageError(
            f"--trim-positions is {rows}; the position table has {options.max_num_tokens} rows.",
            hint=f"N rows take files of up to {options.stride} * N + {options.conv_kernel_size - 1} bytes.",
        )
    return replace(options, max_num_tokens=rows)


def kept_rows(tensors: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """CoreNet's tensors with the first `rows` of the position table: (1, 1, rows, channels), a view."""
    return {**tensors, POSITIONS: tensors[POSITIONS][:, :, :rows]}


def trim_sentence(options: CoreNetOptions, source: CoreNetOptions) -> str | None:
    """What was cut off, None where nothing was."""
    if options.max_num_tokens == source.max_num_tokens:
        return None
    return (
        f"The position table holds the first {options.max_num_tokens:,} of {source.max_num_tokens:,} rows: exact for "
        f"files of up to {max_bytes(options):,} bytes, too short for longer ones."
    )


def max_bytes(options: CoreNetOptions) -> int:
    """The longest file, in bytes, that the position table has room for."""
    return options.stride * options.max_num_tokens + options.conv_kernel_size - 1
