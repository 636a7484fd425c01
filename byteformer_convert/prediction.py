"""Files to classes: encoded as the model was trained, or byte by byte as they are.

Files whose bytes are equally many go through the model together. Nothing is padded then, so no file's result depends on
its neighbours: CoreNet's arithmetic, which converted folders keep, does not mask padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.errors import FileInputError, FolderError
from byteformer_convert.loading import LoadedFolder, check_encoding, in_commands_words

if TYPE_CHECKING:
    from torch import Tensor


SEED = 0
BATCH_BYTES = 2**18  # in one forward pass: enough to fill the matrix products, little enough for any machine
WAITING_BYTES = 2**26  # in files that wait for others of their length
RANDOM_SHUFFLES = ("window_shuffle", "random_shuffle")


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """What became of one file.

    Attributes:
        file: As it was given.
        length: Bytes that the model was fed; 0 where there is an error.
        top: Class names and probabilities, best first.
        error: Why it could not be classified, None where it could.
    """

    file: Path
    length: int = 0
    top: tuple[tuple[str, float], ...] = ()
    error: FileInputError | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        if self.error is not None:
            return {"file": str(self.file), "error": self.error.to_dict()}
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {"file": str(self.file), "bytes": self.length, "top": top}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What became of all files.

    Attributes:
        folder: The model.
        raw: Whether the files' own bytes were fed.
        seed: Of the encoding's random steps, None where it has none.
        files: In the order in which they were given.
    """

    folder: Path
    raw: bool
    seed: int | None
    files: tuple[FilePrediction, ...]

    @property
    def errors(self) -> tuple[FileInputError, ...]:
        """Why files could not be classified."""
        return tuple(file.error for file in self.files if file.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "folder": str(self.folder),
            "raw": self.raw,
            "seed": self.seed,
            "files": [file.to_dict() for file in self.files],
            "failed": len(self.errors),
        }


def predict(
    loaded: LoadedFolder,
    files: Sequence[Path],
    *,
    top_k: int = 5,
    raw: bool = False,
    seed: int = SEED,
    advance: Callable[[], None] = lambda: None,
) -> Prediction:
    """Classifies files; one that cannot be used is reported in the result, and the rest go on.

    Args:
        loaded: The model and its processor.
        files: Paths.
        top_k: Classes per file.
        raw: Feed the files' own bytes instead of encoding them as the model was trained.
        seed: Of the encoding's random steps; each file draws from it anew.
        advance: Is called once a file.

    Raises:
        UsageError: The folder's encoding is not known, or needs a package that is not installed.
        FolderError: The model's answer holds no numbers.
    """
    if not raw:
        check_encoding(loaded)
    results: dict[int, FilePrediction] = {}

    def encoded() -> Iterator[tuple[int, Tensor]]:
        for index, file in enumerate(files):
            try:
                yield index, encode(loaded, file, raw=raw, seed=seed)
            except FileInputError as error:
                results[index] = FilePrediction(file, error=error)
                advance()

    for batch in equal_lengths(encoded()):
        answers = _classify(loaded, [ids for _, ids in batch], top_k)
        for (index, ids), top in zip(batch, answers, strict=True):
            results[index] = FilePrediction(files[index], len(ids), top)
            advance()
    drawn = seed if draws(loaded.processor) and not raw else None
    return Prediction(loaded.path, raw, drawn, tuple(results[index] for index in range(len(files))))


def encode(loaded: LoadedFolder, file: Path, *, raw: bool, seed: int) -> Tensor:
    """A file's bytes as the model reads them: (bytes,) uint8.

    Raises:
        FileInputError: The file cannot be used.
    """
    import torch

    extra = {"generator": torch.Generator().manual_seed(seed)} if draws(loaded.processor) else {}
    try:
        ids: Tensor = loaded.processor([file], raw=raw, return_tensors="pt", **extra)["input_ids"][0]
    except (ValueError, OSError, ImportError, MemoryError) as error:
        raise FileInputError(_reason(error, file), where=file) from error
    _check_length(loaded.model.config, len(ids), file, raw=raw)
    return ids.to(torch.uint8)


def equal_lengths(encoded: Iterable[tuple[int, Tensor]]) -> Iterator[list[tuple[int, Tensor]]]:
    """Groups of equal length, in any order, so that neither a group nor what waits for others takes much memory."""
    waiting: dict[int, list[tuple[int, Tensor]]] = {}
    for index, ids in encoded:
        group = waiting.setdefault(len(ids), [])
        group.append((index, ids))
        if len(group) * len(ids) >= BATCH_BYTES:
            yield waiting.pop(len(ids))
        elif sum(length * len(group) for length, group in waiting.items()) >= WAITING_BYTES:
            yield from waiting.values()
            waiting.clear()
    yield from waiting.values()


def draws(processor: Any) -> bool:
    """Whether the encoding is random, even at evaluation."""
    noise, shuffle = (getattr(processor, name, None) for name in ("noise_range", "shuffle_mode"))
    return noise is not None or shuffle in RANDOM_SHUFFLES


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, MemoryError):
        return "takes more memory than there is."
    return in_commands_words(getattr(error, "strerror", None) or str(error).removeprefix(f"{file}: "))


def _check_length(config: Any, length: int, file: Path, *, raw: bool) -> None:
    what = "holds" if raw else "is encoded to"
    if length < config.conv_kernel_size:
        raise FileInputError(
            f"{what} {length:,} bytes; this model needs at least {config.conv_kernel_size:,}.",
            where=file,
            hint="Give a longer file.",
        )
    if length > config.max_bytes and config.max_position_embeddings > 1:
        raise FileInputError(
            f"{what} {length:,} bytes; this model takes at most {config.max_bytes:,}.",
            where=file,
            hint="Leave --raw out to have it encoded as the model was trained, or give a smaller file."
            if raw
            else None,
        )


def _classify(loaded: LoadedFolder, streams: Sequence[Tensor], top_k: int) -> list[tuple[tuple[str, float], ...]]:
    import torch

    with torch.inference_mode():
        probabilities = loaded.model(input_ids=torch.stack(list(streams)).long()).logits.softmax(-1)
    if not probabilities.isfinite().all():
        raise FolderError("its model answers with NaN.", where=loaded.path, hint="Verify it against its source.")
    best = probabilities.topk(min(top_k, probabilities.shape[-1]))
    return [
        tuple((loaded.labels[index], value) for index, value in zip(indices, values, strict=True))
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
