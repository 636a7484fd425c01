"""What convert and verify share: reading a checkpoint that fits its options, and comparing a folder with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from byteformer_convert.corenet.digest import sha256_of
from byteformer_convert.corenet.state_dict import find_mismatches
from byteformer_convert.errors import ByteFormerConvertError, CheckpointError, MappingError, UsageError
from byteformer_convert.mapping.trim import kept_rows
from byteformer_convert.output.weight_files import read_weights

if TYPE_CHECKING:
    from byteformer_convert.corenet.checkpoint import Checkpoint, WeightsKey
    from byteformer_convert.corenet.options import CoreNetOptions
    from byteformer_convert.parity.fresh_process import FreshProcess
    from byteformer_convert.parity.result import ParityReport

LOGITS_ATOL = 2e-5  # parity.check.LOGITS_ATOL, which cannot be imported without torch

Say = Callable[[str], None]


def quietly(message: str) -> None:
    """A `Say` that keeps everything to itself."""


def check_sources(config: Path | None, weights: Path, atol: float) -> None:
    """Refuses a request without a config, or with a tolerance that is none.

    Raises:
        UsageError: Says which.
    """
    if config is None and not weights.is_dir():
        raise UsageError(
            "--config is missing.",
            hint="Give CoreNet's YAML; only a folder that CoreNet's Hugging Face adapter saved goes without.",
        )
    if not 0 < atol < float("inf"):
        raise UsageError(f"--atol is {atol}.", hint="Give a number above 0, such as 2e-5.")


def look(config: Path | None, weights: Path) -> dict[Path, os.stat_result]:
    """The inputs' files as they are now. What cannot be looked at is told of by whoever reads it."""
    try:
        folder = sorted(weights.iterdir()) if weights.is_dir() else []
        files = [path for path in (config, weights, *folder) if path is not None]
        return {path: path.stat() for path in files if path.is_file()}
    except OSError:
        return {}


def refuse_changed(seen: Mapping[Path, os.stat_result], cause: Exception | None = None) -> None:
    """Inputs are read several times, the weights straight from the disk: they must stay what they were.

    Raises:
        CheckpointError: One was written to since `look`.
    """
    for path, before in seen.items():
        after = path.stat() if path.is_file() else None
        if after is None or _traits(after) != _traits(before):
            raise CheckpointError(
                "this file was written to while it was read.",
                where=path.name,
                hint="Run the command again once nobody writes to it, or give a copy.",
            ) from cause


@contextmanager
def blaming_changes(seen: Mapping[Path, os.stat_result]) -> Iterator[None]:
    """An error of the block is put down to an input that was written to meanwhile, if one was.

    Raises:
        CheckpointError: As `refuse_changed`.
    """
    try:
        yield
    except ByteFormerConvertError as error:
        refuse_changed(seen, error)
        raise


def _traits(status: os.stat_result) -> tuple[int, ...]:
    # Of the file's own clock only whether it has moved, so it may be wrong.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def fresh_process() -> FreshProcess:
    """Started early: its imports overlap with reading and writing."""
    from byteformer_convert.parity.fresh_process import FreshProcess

    return FreshProcess()


def read_checkpoint(weights: Path, weights_key: WeightsKey) -> Checkpoint:
    """`corenet.checkpoint.load_checkpoint`, which needs torch: a file is hashed while that is imported."""
    with sha256_of((weights,) if weights.is_file() else ()) as sha256:
        from byteformer_convert.corenet.checkpoint import load_checkpoint

        return load_checkpoint(weights, weights_key, sha256 if weights.is_file() else None)


def check_fit(checkpoint: Checkpoint, options: CoreNetOptions, where: str) -> None:
    """Compares a checkpoint's tensors with those that the options ask for.

    Raises:
        MappingError: Holds every mismatch.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    if mismatches := find_mismatches(shapes, options):
        raise MappingError(
            f"does not fit {options.source}: {mismatches[0].cause}.",
            mismatches=mismatches,
            where=where,
            hint="Give the YAML that the checkpoint was trained with, or correct single keys with --override.",
        )


def compare_with_source(
    folder: Path,
    checkpoint: Checkpoint,
    options: CoreNetOptions,
    process: FreshProcess,
    dtype: str,
    atol: float,
    say: Say,
    *,
    detailed: bool = False,
) -> ParityReport:
    """All levels of parity: weights bit for bit, then logits in the fresh process.

    Raises:
        FolderError: The folder's weights cannot be read.
        ParityError: The folder cannot be loaded or run at all.
    """
    from byteformer_convert.mapping.weights import unmap_weights
    from byteformer_convert.parity.check import check, compare_weights

    say("Comparing the weights with the checkpoint, bit for bit")
    tensors = read_weights(folder)
    kept = kept_rows(checkpoint.tensors, options.max_num_tokens)
    weights = compare_weights(unmap_weights(tensors, kept), kept, dtype)
    say("Comparing logits with the reference, in a fresh process")
    return check(folder, checkpoint.tensors, options, weights, process, dtype=dtype, atol=atol, detailed=detailed)
