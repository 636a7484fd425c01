"""Files to batches of byte ids, in worker processes. Which files share a batch depends on their order alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from byteformer_convert.interrupts import leave_to_parent
from byteformer_convert.loading import in_commands_words
from byteformer_convert.machine import lack_behind

if TYPE_CHECKING:
    from pathlib import Path

    from byteformer_convert.evaluation.items import Items

CORENET_BATCH_SIZE = 48  # dataset.eval_batch_size0 of every published YAML


@dataclass(frozen=True, slots=True)
class Plan:
    """How files are put together.

    Attributes:
        files: How many there are.
        batch_size: Files in a batch, counted in file order.
        padded: Whether a batch is padded to its longest file, as CoreNet does; else only equal lengths of a batch go
            through the model together, so that no file's logits depend on another file.
    """

    files: int
    batch_size: int = CORENET_BATCH_SIZE
    padded: bool = True

    @property
    def batches(self) -> int:
        """How many there are; the last one may be smaller."""
        return math.ceil(self.files / self.batch_size)

    def indices(self, batch: int) -> range:
        """The files of a batch."""
        return range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.files))

    def files_in(self, batches: Sequence[int]) -> int:
        """How many files some batches hold."""
        return sum(len(self.indices(batch)) for batch in batches)

    def sentence(self) -> str:
        """For people."""
        if not self.padded:
            return "no file is padded: equal lengths go through the model together"
        as_corenet = ", as CoreNet evaluates" if self.batch_size == CORENET_BATCH_SIZE else ""
        return f"batches of {self.batch_size} in file order, each padded to its longest file{as_corenet}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The fewest and the most bytes that the model takes; None where there is no most."""

    shortest: int
    longest: int | None

    @classmethod
    def of(cls, config: Any) -> Limits:
        """Those of a ByteFormerConfig."""
        # A table of one row is added to every token.
        return cls(config.conv_kernel_size, config.max_bytes if config.max_position_embeddings > 1 else None)


@dataclass(frozen=True, slots=True)
class Group:
    """Files that go through the model together.

    Attributes:
        indices: Of the files.
        lengths: Bytes of each.
        ids: (files, bytes) int16; -1 is padding.
    """

    indices: tuple[int, ...]
    lengths: tuple[int, ...]
    ids: np.ndarray


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """A batch that is ready for the model.

    Attributes:
        batch: Its number.
        groups: One where it is padded, else one a length.
        broken: Files that cannot be used, and why.
        seconds: What reading and encoding took in the worker.
    """

    batch: int
    groups: tuple[Group, ...]
    broken: tuple[tuple[int, str], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes files with a folder's processor.

    Attributes:
        folder: Where the processor is; a worker that does not inherit it loads it from there.
        task: `image` or `audio`.
        raw: Whether files are taken as they are.
        seed: Of the processor's random steps, where it has any.
        limits: Of the model.
    """

    folder: Path
    task: str
    raw: bool
    seed: int
    limits: Limits

    def encode(self, plan: Plan, items: Items, batch: int) -> EncodedBatch:
        """Reads and encodes one batch; files that cannot be used are left out of it."""
        start = time.perf_counter()
        wanted = plan.indices(batch)
        broken: dict[int, str] = {}
        try:
            streams = self._streams(items, wanted, batch)
        except MemoryError:  # says nothing of the file
            raise
        except Exception:  # a decoder may raise anything over a broken file
            broken = self._faults(items, wanted, batch)
            streams = self._streams(items, [index for index in wanted if index not in broken], batch)
        broken |= self._unfit(streams, padded=plan.padded)
        usable = {index: stream for index, stream in streams.items() if index not in broken}
        groups = tuple(_grouped(usable, padded=plan.padded))
        named = tuple((index, broken[index]) for index in sorted(broken))
        return EncodedBatch(batch, groups, named, time.perf_counter() - start)

    def _streams(self, items: Items, indices: Sequence[int], batch: int) -> dict[int, np.ndarray]:
        """Byte values by file: in one call, for CoreNet draws some random numbers once a batch."""
        if not indices:
            return {}
        extra = {} if self.task == "audio" else {"generator": torch.Generator().manual_seed(self.seed + batch)}
        with items.opened(indices) as contents:
            encoded = _processor(self.folder, self.task)(contents, raw=self.raw, **extra)
        rows = zip(indices, encoded["input_ids"], encoded["attention_mask"], strict=True)
        return {index: ids[: int(mask.sum())].astype(np.int16) for index, ids, mask in rows}

    def _faults(self, items: Items, indices: Sequence[int], batch: int) -> dict[int, str]:
        """Tries files one by one; why each one that fails does."""
        faults = {}
        for index in indices:
            try:
                self._streams(items, [index], batch)
            except MemoryError:
                raise
            except Exception as error:  # as above
                if isinstance(error, OSError) and lack_behind(error) is not None:  # nor does this
                    raise
                reason = in_commands_words(str(error)) or type(error).__name__
                faults[index] = reason.rpartition(f"{items.name(index)}: ")[2]  # the path is said beside it
        return faults

    def _unfit(self, streams: dict[int, np.ndarray], *, padded: bool) -> dict[int, str]:
        """Files that the model has no room for, or that do not make a token and are not padded to one."""
        longest_allowed = self.limits.longest or math.inf
        lengths = {index: len(stream) for index, stream in streams.items()}
        unfit = {
            index: f"{length:,} bytes; the model takes at most {longest_allowed:,}"
            for index, length in lengths.items()
            if length > longest_allowed
        }
        longest = max((length for index, length in lengths.items() if index not in unfit), default=0)
        for index, length in lengths.items():
            if (longest if padded else length) < self.limits.shortest:
                unfit[index] = f"{length:,} bytes; the model needs at least {self.limits.shortest:,}"
        return unfit


class _Batches(Dataset[EncodedBatch]):
    """What the DataLoader's workers index: encoded batches, by their place among those that are asked for."""

    def __init__(self, encoder: Encoder, plan: Plan, items: Items, batches: Sequence[int]) -> None:
        self.encoder, self.plan, self.items, self.batches = encoder, plan, items, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, position: int) -> EncodedBatch:
        return self.encoder.encode(self.plan, self.items, self.batches[position])


def encoded_batches(
    encoder: Encoder, plan: Plan, items: Items, batches: Sequence[int], workers: int
) -> Iterator[EncodedBatch]:
    """Encodes batches in worker processes, a few ahead of the model.

    Args:
        encoder: What encodes them.
        plan: Which files are in them.
        items: The files.
        batches: The numbers of the batches, in the order in which they come.
        workers: Processes; 0: none, this one encodes.
    """
    # Ids leave the workers as numpy arrays, through a pipe: tensors would go through shared memory, which containers
    # are often short of.
    loader: DataLoader[EncodedBatch] = DataLoader(
        _Batches(encoder, plan, items, batches),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        worker_init_fn=_begin,
    )
    return iter(loader)


def _begin(worker: int) -> None:
    leave_to_parent()


def _as_it_is(batch: Any) -> Any:
    return batch


def _grouped(streams: dict[int, np.ndarray], *, padded: bool) -> Iterator[Group]:
    if not streams:
        return
    by_length: dict[int, list[int]] = {}
    for index, stream in streams.items():
        by_length.setdefault(0 if padded else len(stream), []).append(index)
    for _, indices in sorted(by_length.items()):
        lengths = tuple(len(streams[index]) for index in indices)
        ids = np.full((len(indices), max(lengths)), -1, dtype=np.int16)
        for row, index in enumerate(indices):
            ids[row, : lengths[row]] = streams[index]
        yield Group(tuple(indices), lengths, ids)


_PROCESSORS: dict[tuple[Path, str], Any] = {}


def _processor(folder: Path, task: str) -> Any:
    """Loaded once a process: it cannot be sent to one, its class lives in a module that only transformers knows."""
    with suppress(KeyError):
        return _PROCESSORS[folder, task]
    from byteformer_convert.loading import load_processor

    return _PROCESSORS.setdefault((folder, task), load_processor(folder, task))
