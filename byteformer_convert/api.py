"""What scripts call: the functions behind the commands, with paths as text or path objects, and nothing printed.

    convert   -> Conversion      verify  -> Verification
    inspect   -> Inspection      predict -> Prediction

Names and defaults are the commands' own: where an error advises `--weights-key ema`, `weights_key="ema"` is meant.
Everything in `__all__` is offered as `byteformer_convert.NAME`, and is what a version number speaks of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from byteformer_convert import conversion, inspection, loading, prediction, sources, verification
from byteformer_convert.checking import LOGITS_ATOL, quietly
from byteformer_convert.conversion import Conversion
from byteformer_convert.corenet.state_dict import Mismatch
from byteformer_convert.errors import (
    ByteFormerConvertError,
    CheckpointError,
    DownloadError,
    FileInputError,
    FolderError,
    HubError,
    InputError,
    LabelsError,
    MachineError,
    ManifestError,
    MappingError,
    OptionsError,
    OutputError,
    ParityError,
    UsageError,
)
from byteformer_convert.inspection import Inspection, TensorFamily
from byteformer_convert.output.folder import FileRecord
from byteformer_convert.parity.result import CaseResult, ParityReport, StageResult, WeightsResult
from byteformer_convert.prediction import FilePrediction, Prediction
from byteformer_convert.verification import Verification

if TYPE_CHECKING:
    from byteformer_convert.corenet.checkpoint import WeightsKey

__all__ = [
    "ByteFormerConvertError",
    "CaseResult",
    "CheckpointError",
    "Conversion",
    "DownloadError",
    "FileInputError",
    "FilePrediction",
    "FileRecord",
    "FolderError",
    "HubError",
    "InputError",
    "Inspection",
    "LabelsError",
    "MachineError",
    "ManifestError",
    "MappingError",
    "Mismatch",
    "OptionsError",
    "OutputError",
    "ParityError",
    "ParityReport",
    "Prediction",
    "StageResult",
    "TensorFamily",
    "UsageError",
    "Verification",
    "WeightsResult",
    "convert",
    "inspect",
    "predict",
    "verify",
]

PathLike = str | os.PathLike[str]
Dtype = Literal["auto", "float32", "float16", "bfloat16"]
T = TypeVar("T")
WEIGHTS_KEYS = ("auto", "model", "ema")


def convert(
    output: PathLike,
    *,
    weights: PathLike | None = None,
    config: PathLike | None = None,
    published: str | None = None,
    cache_dir: PathLike | None = None,
    override: Sequence[str] = (),
    weights_key: WeightsKey = "auto",
    labels: PathLike | None = None,
    dtype: Dtype = "auto",
    max_shard_size: str | None = None,
    trim_positions: int | None = None,
    license: str | None = None,
    atol: float = LOGITS_ATOL,
    skip_parity: bool = False,
    force: bool = False,
    say: Callable[[str], None] = quietly,
) -> Conversion:
    """Converts a CoreNet checkpoint, checks parity, and writes the folder.

    Args:
        output: The folder to write.
        weights: CoreNet's .pt, or a folder that CoreNet's Hugging Face adapter saved.
        config: CoreNet's YAML; left out for such a folder, and with `published`.
        published: Name of a published checkpoint, fetched unless `weights` gives its file.
        cache_dir: Where fetched checkpoints are kept, if not in the usual place.
        override: `KEY=VALUE` each, over what the YAML says.
        weights_key: Which weights of a training checkpoint; auto takes EMA where there is any.
        labels: File with the class names, JSON or one a line.
        dtype: Of the folder's weights; auto keeps the checkpoint's.
        max_shard_size: Such as `500MB`; None for one file.
        trim_positions: How many rows of the position table to keep; None for all.
        license: Licence of the weights, for the model card.
        atol: Largest difference of two logits that is allowed.
        skip_parity: Whether to write the folder unchecked, and say so in it.
        force: Whether to replace a folder that this tool wrote before.
        say: Is told what happens, one sentence at a time.

    Returns:
        The conversion; `to_dict` is what `convert --json` prints, but for the schema version.

    Raises:
        UsageError: The request makes no sense.
        InputError: An input cannot be used, or YAML and checkpoint do not fit each other.
        ParityError: The folder does not compute what CoreNet computes; nothing is left at `output`.
        OutputError: The folder is there already, or cannot be written.
    """
    _check_weights_key(weights_key)
    found = sources.find_sources(
        _path(weights), _path(config), published, output=Path(output), force=force, cache_dir=_path(cache_dir)
    )
    for note in found.notes:
        say(note)
    request = conversion.Request(
        weights=found.weights,
        output=Path(output),
        config=found.config,
        overrides=_several("override", override),
        weights_key=weights_key,
        labels=_path(labels),
        dtype=dtype,
        max_shard_size=max_shard_size,
        atol=atol,
        skip_parity=skip_parity,
        force=force,
        license=license,
        published=found.published,
        trim_positions=trim_positions,
    )
    return conversion.convert(request, say)


def verify(
    folder: PathLike,
    *,
    weights: PathLike,
    config: PathLike | None = None,
    override: Sequence[str] = (),
    weights_key: WeightsKey = "auto",
    atol: float = LOGITS_ATOL,
    trust_remote_code: bool = False,
    say: Callable[[str], None] = quietly,
) -> Verification:
    """Checks a finished folder against its source: weights bit for bit, logits in a fresh process.

    Args:
        folder: A converted folder. Its own `.py` files are run, in that process.
        weights: The checkpoint that it came from.
        config: CoreNet's YAML; left out where `weights` is an adapter's folder.
        override: `KEY=VALUE` each, over what the YAML says.
        weights_key: Which weights of a training checkpoint; auto takes EMA where there is any.
        atol: Largest difference of two logits that is allowed.
        trust_remote_code: Whether to run the folder's code even where it is not this version's.
        say: Is told what happens, one sentence at a time.

    Returns:
        The verification. A folder that differs does not raise: look at `passed` and `failure`.

    Raises:
        UsageError: The request makes no sense.
        InputError: Something cannot be read, or the folder's code is not this version's and not trusted.
        ParityError: The folder cannot even be loaded.
    """
    _check_weights_key(weights_key)
    return verification.verify(
        Path(folder),
        Path(weights),
        _path(config),
        overrides=_several("override", override),
        weights_key=weights_key,
        atol=atol,
        trust_remote_code=trust_remote_code,
        say=say,
    )


def inspect(
    folder: PathLike | None = None,
    *,
    config: PathLike | None = None,
    weights: PathLike | None = None,
    override: Sequence[str] = (),
    weights_key: WeightsKey = "auto",
) -> Inspection:
    """Looks at a YAML, a checkpoint, both, or a converted folder. Runs no code of theirs and converts nothing.

    Args:
        folder: A converted folder, alone.
        config: CoreNet's YAML.
        weights: CoreNet's .pt, or a folder that CoreNet's Hugging Face adapter saved.
        override: `KEY=VALUE` each, over what the YAML says.
        weights_key: Which weights of a training checkpoint; auto takes EMA where there is any.

    Returns:
        The inspection. YAML and weights that do not fit each other do not raise: look at `mismatches`.

    Raises:
        UsageError: Nothing to look at, or a folder together with one of the others.
        InputError: Something cannot be read.
    """
    _check_weights_key(weights_key)
    return inspection.inspect(
        _path(config),
        _path(weights),
        _path(folder),
        overrides=_several("override", override),
        weights_key=weights_key,
    )


def predict(
    folder: PathLike,
    files: Iterable[PathLike],
    *,
    top_k: int = 5,
    raw: bool = False,
    seed: int = prediction.SEED,
    trust_remote_code: bool = False,
) -> Prediction:
    """Classifies files. The folder's own `.py` files are run in this process.

    Args:
        folder: A converted folder, or one fine-tuned from it.
        files: Files to classify.
        top_k: Classes per file.
        raw: Whether to feed the files' own bytes, instead of encoding as the model was trained.
        seed: Of encodings that are random; each file draws from it anew.
        trust_remote_code: Whether to run the folder's code even where it is not this version's.

    Returns:
        The predictions, in the order of `files`. A file that cannot be used does not raise: look at `errors`.

    Raises:
        UsageError: The request makes no sense, or needs a package that is not installed.
        FolderError: The folder cannot be used, or its code is not this version's and not trusted.
    """
    if top_k < 1:
        raise UsageError(f"--top-k is {top_k}.", hint="Give a number of at least 1.")
    paths = [Path(file) for file in _several("files", files)]
    loaded = loading.load_folder(Path(folder), trust_remote_code=trust_remote_code)
    return prediction.predict(loaded, paths, top_k=top_k, raw=raw, seed=seed)


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _several(name: str, values: Iterable[T]) -> tuple[T, ...]:
    """A string is a sequence, too: of its letters, which nobody means."""
    if isinstance(values, (str, os.PathLike)):
        raise UsageError(f"{name} is a single {type(values).__name__}.", hint=f"Give a list: {name}=[...].")
    return tuple(values)


def _check_weights_key(weights_key: str) -> None:
    if weights_key not in WEIGHTS_KEYS:
        raise UsageError(f"--weights-key is {weights_key!r}.", hint=f"Choose one of {', '.join(WEIGHTS_KEYS)}.")
