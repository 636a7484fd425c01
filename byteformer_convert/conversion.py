"""The pipeline: a CoreNet checkpoint to a folder, and the same checks on a folder that is finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert import __version__
from byteformer_convert.corenet.options import CoreNetOptions, load_options
from byteformer_convert.corenet.published import published
from byteformer_convert.corenet.state_dict import find_mismatches
from byteformer_convert.errors import FolderError, MappingError, ParityError, UsageError
from byteformer_convert.mapping.config import SWITCHES, config_json, model_fields
from byteformer_convert.mapping.labels import labels_for
from byteformer_convert.mapping.processor import processor_fields
from byteformer_convert.mapping.trim import kept_rows, trim_sentence, trimmed
from byteformer_convert.output.folder import (
    CARD_NAME,
    CONFIG_NAME,
    PROCESSOR_NAME,
    FileRecord,
    bundled_code,
    file_record,
    parse_size,
    read_weights,
    record_files,
    write_code,
    write_json,
    write_weights,
)
from byteformer_convert.output.model_card import CardFacts, model_card
from byteformer_convert.output.staging import REPORT_NAME, check_target, staged_folder
from byteformer_convert.parity.result import ParityReport

if TYPE_CHECKING:
    from torch import Tensor

    from byteformer_convert.corenet.checkpoint import Checkpoint, WeightsKey
    from byteformer_convert.parity.fresh_process import FreshProcess

SCHEMA_VERSION = 1
LOGITS_ATOL = 2e-5  # parity.check.LOGITS_ATOL, which cannot be imported without torch
DTYPES = ("auto", "float32", "float16", "bfloat16")
LIBRARIES = ("torch", "transformers", "safetensors", "numpy", "pillow")

Say = Callable[[str], None]


def _quietly(message: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Request:
    """One conversion, as asked for.

    Attributes:
        weights: A checkpoint file, or a folder that CoreNet's Hugging Face adapter saved.
        output: The folder to write.
        config: CoreNet's YAML; None where `weights` is an adapter's folder, which brings its own.
        overrides: `KEY=VALUE`, over what the YAML says.
        weights_key: Which weights of a training checkpoint: auto, model or ema.
        labels: File with the class names; None for placeholders.
        dtype: Of the folder's weights; auto keeps the checkpoint's.
        max_shard_size: Such as `500MB`; None for one file.
        atol: Largest difference of two logits that is allowed.
        skip_parity: Whether to write the folder unchecked, and say so in it.
        force: Whether to replace a folder that is there already.
        license: Licence id for the model card.
        published: Name of the published checkpoint that `weights` is; None for anybody's own.
        trim_positions: How many rows of the position table to keep; None for all.
        detailed: Whether parity keeps what a page shows of it; the folder is the same.
    """

    weights: Path
    output: Path
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    weights_key: WeightsKey = "auto"
    labels: Path | None = None
    dtype: str = "auto"
    max_shard_size: str | None = None
    atol: float = LOGITS_ATOL
    skip_parity: bool = False
    force: bool = False
    license: str | None = None
    published: str | None = None
    trim_positions: int | None = None
    detailed: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """A finished conversion.

    Attributes:
        output: The folder.
        report: What conversion_report.json says.
        files: Every file in the folder, the report included.
        parity: What was checked.
        notes: Sentences that a person should read.
    """

    output: Path
    report: Mapping[str, Any]
    files: tuple[FileRecord, ...]
    parity: ParityReport
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "output": str(self.output),
            **self.report,
            "files": [file.to_dict() for file in self.files],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """A finished folder against its source.

    Attributes:
        folder: The folder.
        parity: What was compared.
        config_differences: Fields of config.json that are not what the source asks for, one sentence each.
        changed_code: Bundled `.py` files that are not those of this version.
        notes: Sentences that a person should read.
    """

    folder: Path
    parity: ParityReport
    config_differences: tuple[str, ...]
    changed_code: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether config.json says what the source says, and the numbers are equal."""
        return self.parity.verdict == "passed" and not self.config_differences

    @property
    def failure(self) -> str | None:
        """Why it did not pass: the config first, for it explains the numbers."""
        sentences = [*self.config_differences, *([self.parity.failure] if self.parity.failure else [])]
        return "; ".join(sentences) or None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "folder": str(self.folder),
            "passed": self.passed,
            "parity": self.parity.to_dict(),
            "config_differences": list(self.config_differences),
            "changed_code": list(self.changed_code),
            "notes": list(self.notes),
        }


def convert(request: Request, say: Say = _quietly) -> Conversion:
    """Converts a checkpoint, checks the folder, and puts it in its place.

    Args:
        request: What to convert, and how.
        say: Is told what happens, one sentence at a time.

    Raises:
        UsageError: The request makes no sense.
        InputError: An input cannot be used, or YAML and checkpoint do not fit each other.
        ParityError: The folder does not compute what CoreNet computes; nothing is left at the target.
        OutputError: The target is there already, or cannot be written.
    """
    _check_request(request)
    check_target(request.output, force=request.force)
    source = load_options(request.config or request.weights, request.overrides)
    options = trimmed(source, request.trim_positions)
    labels = labels_for(options, request.labels)
    processor = processor_fields(options)
    with ExitStack() as stack:
        process = None if request.skip_parity else stack.enter_context(_fresh_process())
        say("Reading the checkpoint")
        checkpoint = _load_checkpoint(request.weights, request.weights_key)
        _check_fit(checkpoint, source, request.weights.name)
        tensors = mapped_weights(checkpoint, options, request.dtype)
        folder = stack.enter_context(staged_folder(request.output, force=request.force))
        say("Writing the folder")
        _write_model(folder, tensors, options, labels, processor, request.max_shard_size)
        dtype = dtype_name(tensors)
        parity = _checked(folder, checkpoint, options, process, dtype, request.atol, say, detailed=request.detailed)
        report = conversion_report(request, source, checkpoint, parity)
        _write_papers(folder, report, options, tensors, parity, request)
        files = record_files(folder)
    return Conversion(request.output, report, files, parity, _notes(options, source, checkpoint, parity))


def verify(
    folder: Path,
    weights: Path,
    config: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    weights_key: WeightsKey = "auto",
    atol: float = LOGITS_ATOL,
    trust_remote_code: bool = False,
    detailed: bool = False,
    say: Say = _quietly,
) -> Verification:
    """Checks a finished folder against the checkpoint that it came from.

    Args:
        folder: A converted folder. Its own `.py` files are run.
        weights: The checkpoint.
        config: CoreNet's YAML, None where `weights` is an adapter's folder.
        overrides: `KEY=VALUE`, over what the YAML says.
        weights_key: Which weights of a training checkpoint.
        atol: Largest difference of two logits that is allowed.
        trust_remote_code: Whether to run the folder's code even where it is not this version's.
        detailed: Whether parity keeps what a page shows of it.
        say: Is told what happens.

    Returns:
        The verification; `passed` says how it went.

    Raises:
        UsageError: The request makes no sense.
        InputError: Something cannot be read, or the folder's code is not this version's.
        ParityError: The folder cannot even be loaded.
    """
    _check_sources(config, weights, atol)
    source = options = load_options(config or weights, overrides)
    config_file = read_config(folder)
    changed = changed_code(folder, options.task)
    if changed and not trust_remote_code:
        raise FolderError(
            f"holds code that is not this version's: {', '.join(changed)}. Verifying would run it.",
            where=folder,
            hint="Look at it, then give --trust-remote-code.",
        )
    with _fresh_process() as process:
        say("Reading the checkpoint")
        checkpoint = _load_checkpoint(weights, weights_key)
        _check_fit(checkpoint, options, weights.name)
        # As the folder's code reads it: a folder saved again by transformers leaves defaults out.
        fields = process.config(folder, list(model_fields(options)))
        options = _trimmed_like(source, fields)
        differences = config_differences(fields, options)
        dtype = stored_dtype(config_file)
        parity = _checked(folder, checkpoint, options, process, dtype, atol, say, raises=False, detailed=detailed)
    note = trim_sentence(options, source)
    return Verification(folder, parity, differences, changed, () if note is None else (note,))


def mapped_weights(checkpoint: Checkpoint, options: CoreNetOptions, dtype: str) -> dict[str, Tensor]:
    """The folder's tensors, in the dtype asked for, with as many positions as the options say."""
    import torch

    from byteformer_convert.mapping.weights import map_weights

    wanted = getattr(torch, own_dtype(checkpoint.tensors) if dtype == "auto" else dtype)
    kept = kept_rows(checkpoint.tensors, options.max_num_tokens)
    return {name: tensor.to(wanted) for name, tensor in map_weights(kept).items()}


def own_dtype(tensors: Mapping[str, Tensor]) -> str:
    """The checkpoint's dtype where all tensors share a half one; else float32, in which CoreNet computes."""
    names = {dtype_name({name: tensor}) for name, tensor in tensors.items()}
    return names.pop() if len(names) == 1 and names <= {"float16", "bfloat16"} else "float32"


def dtype_name(tensors: Mapping[str, Tensor]) -> str:
    """`float32` and the like, of tensors that share one dtype."""
    return str(next(iter(tensors.values())).dtype).removeprefix("torch.")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a converted folder.

    Raises:
        FolderError: It is not there, or not a ByteFormer's.
    """
    hint = "Give a folder that byteformer-convert wrote."
    try:
        content = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{CONFIG_NAME} cannot be read: {error}.", where=folder, hint=hint) from error
    if not isinstance(content, dict) or content.get("model_type") != "byteformer":
        raise FolderError(f"{CONFIG_NAME} does not describe a converted ByteFormer.", where=folder, hint=hint)
    return content


def stored_dtype(config: Mapping[str, Any]) -> str:
    """In which dtype config.json says that the weights are.

    Raises:
        FolderError: In none that a converted folder has.
    """
    name = config.get("dtype", config.get("torch_dtype", "float32"))
    if name not in DTYPES[1:]:
        raise FolderError(f"dtype is {name!r}; a converted folder has {', '.join(DTYPES[1:])}.", where=CONFIG_NAME)
    return str(name)


def config_differences(config: Mapping[str, Any], options: CoreNetOptions) -> tuple[str, ...]:
    """Where the fields of config.json depart from what the source asks for, as sentences."""
    wanted = model_fields(options)
    return tuple(
        f"config.json says {name} {config.get(name)!r}, the source asks for {value!r}"
        for name, value in wanted.items()
        if config.get(name) != value
    )


def changed_code(folder: Path, task: str) -> tuple[str, ...]:
    """Names of the folder's `.py` files that are not, byte for byte, those of this version."""
    ours = bundled_code(task)
    theirs = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    return tuple(name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name))


def library_versions() -> dict[str, str]:
    """Those that a conversion's numbers may depend on."""
    return {name: metadata.version(name) for name in LIBRARIES}


def conversion_report(
    request: Request, source: CoreNetOptions, checkpoint: Checkpoint, parity: ParityReport
) -> dict[str, Any]:
    """What conversion_report.json says, but for the files; `source` are CoreNet's options, nothing trimmed."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "byteformer-convert", "version": __version__},
        "versions": library_versions(),
        "sources": _sources(request, checkpoint),
        "checkpoint": {
            "kind": checkpoint.kind,
            "container": checkpoint.container,
            "weights": checkpoint.weights,
            "available": list(checkpoint.available),
            "choice": checkpoint.choice_sentence(),
            "prefix": checkpoint.prefix,
            "training": dict(checkpoint.training),
        },
        "overrides": list(request.overrides),
        "request": asked(request),
        "options": source.resolved(),
        "published": None if request.published is None else published(request.published).name,
        "trimmed_positions": _trimmed_positions(request, source),
        "switches": dict(SWITCHES),
        "parity": parity.to_dict(),
    }


def asked(request: Request) -> dict[str, Any]:
    """What else was asked for, so that the folder carries its own recipe; no paths, which differ between machines."""
    return {
        "weights_key": request.weights_key,
        "labels": None if request.labels is None else file_record(request.labels).to_dict(),
        "dtype": request.dtype,
        "max_shard_size": request.max_shard_size,
        "atol": request.atol,
        "skip_parity": request.skip_parity,
        "license": request.license,
    }


def _trimmed_positions(request: Request, source: CoreNetOptions) -> dict[str, int] | None:
    if request.trim_positions in (None, source.max_num_tokens):
        return None
    return {"from": source.max_num_tokens, "to": request.trim_positions}


def _trimmed_like(source: CoreNetOptions, fields: Mapping[str, Any]) -> CoreNetOptions:
    """The options with the positions that a folder kept; more of them than there were is a difference, not a trim."""
    rows = fields.get("max_position_embeddings")
    fewer = isinstance(rows, int) and 1 <= rows < source.max_num_tokens
    return trimmed(source, rows) if fewer else source


def _check_request(request: Request) -> None:
    _check_sources(request.config, request.weights, request.atol)
    if request.dtype not in DTYPES:
        raise UsageError(f"--dtype is {request.dtype!r}.", hint=f"Choose one of {', '.join(DTYPES)}.")
    if request.max_shard_size is not None:
        parse_size(request.max_shard_size)
    if request.published is not None:
        published(request.published)


def _check_sources(config: Path | None, weights: Path, atol: float) -> None:
    if config is None and not weights.is_dir():
        raise UsageError(
            "--config is missing.",
            hint="Give CoreNet's YAML; only a folder that CoreNet's Hugging Face adapter saved goes without.",
        )
    if not 0 < atol < float("inf"):
        raise UsageError(f"--atol is {atol}.", hint="Give a number above 0, such as 2e-5.")


def _fresh_process() -> FreshProcess:
    from byteformer_convert.parity.fresh_process import FreshProcess

    return FreshProcess()


def _load_checkpoint(weights: Path, weights_key: WeightsKey) -> Checkpoint:
    from byteformer_convert.corenet.checkpoint import load_checkpoint

    return load_checkpoint(weights, weights_key)


def _check_fit(checkpoint: Checkpoint, options: CoreNetOptions, where: str) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    if mismatches := find_mismatches(shapes, options):
        raise MappingError(
            f"does not fit {options.source}: {mismatches[0].cause}.",
            mismatches=mismatches,
            where=where,
            hint="Give the YAML that the checkpoint was trained with, or correct single keys with --override.",
        )


def _write_model(
    folder: Path,
    tensors: Mapping[str, Tensor],
    options: CoreNetOptions,
    labels: Sequence[str],
    processor: Mapping[str, Any],
    max_shard_size: str | None,
) -> None:
    write_json(folder / CONFIG_NAME, config_json(options, labels, dtype_name(tensors)))
    write_json(folder / PROCESSOR_NAME, processor)
    write_code(folder, options.task)
    write_weights(folder, tensors, max_shard_size)


def _checked(
    folder: Path,
    checkpoint: Checkpoint,
    options: CoreNetOptions,
    process: FreshProcess | None,
    dtype: str,
    atol: float,
    say: Say,
    *,
    raises: bool = True,
    detailed: bool = False,
) -> ParityReport:
    if process is None:
        return ParityReport("skipped", atol, dtype)
    from byteformer_convert.mapping.weights import unmap_weights
    from byteformer_convert.parity.check import check, compare_weights

    say("Comparing the weights with the checkpoint, bit for bit")
    try:
        tensors = read_weights(folder)
    except Exception as error:  # safetensors has an exception class of its own
        raise FolderError(f"its weights cannot be read: {error}.", where=folder) from error
    kept = kept_rows(checkpoint.tensors, options.max_num_tokens)
    weights = compare_weights(unmap_weights(tensors, kept), kept, dtype)
    say("Comparing logits with the reference, in a fresh process")
    report = check(folder, checkpoint.tensors, options, weights, process, dtype=dtype, atol=atol, detailed=detailed)
    if raises and report.verdict == "failed":
        raise ParityError(
            f"parity does not hold: {report.failure}.",
            report=report,
            hint="Nothing was written. This is a fault of the conversion: please report it with this output.",
        )
    return report


def _write_papers(
    folder: Path,
    report: dict[str, Any],
    options: CoreNetOptions,
    tensors: Mapping[str, Tensor],
    parity: ParityReport,
    request: Request,
) -> None:
    parameters = sum(tensor.numel() for tensor in tensors.values())
    card = model_card(
        CardFacts(
            name=Path(options.source).stem,
            options=options,
            parameters=parameters,
            parity=parity.to_dict(),
            report=report,
            license=request.license,
            processor=processor_fields(options),
            published=None if request.published is None else published(request.published),
        )
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8")
    report["files"] = [file.to_dict() for file in record_files(folder)]
    write_json(folder / REPORT_NAME, report)


def _sources(request: Request, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    config = request.config or request.weights / CONFIG_NAME
    weights = FileRecord(request.weights.name, checkpoint.size, checkpoint.sha256)
    return [file_record(config).to_dict(), weights.to_dict()]


def _notes(
    options: CoreNetOptions, source: CoreNetOptions, checkpoint: Checkpoint, parity: ParityReport
) -> tuple[str, ...]:
    notes = [f"Took {checkpoint.choice_sentence()}.", *options.ignored]
    if (note := trim_sentence(options, source)) is not None:
        notes.append(note)
    if checkpoint.prefix:
        notes.append(f"Every name began with {checkpoint.prefix!r}, which was taken off.")
    if parity.verdict == "skipped":
        notes.append("Parity was not checked: nothing shows that the folder computes what CoreNet computes.")
    notes += [f"Not tried: {sentence}." for sentence in parity.left_out]
    return tuple(notes)
