"""The pipeline: a CoreNet checkpoint to a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert import __version__, checking
from byteformer_convert.checking import LOGITS_ATOL, Say, quietly
from byteformer_convert.corenet.mapped_pages import MappedPages
from byteformer_convert.corenet.options import CoreNetOptions, load_options
from byteformer_convert.corenet.published import published
from byteformer_convert.errors import ParityError, UsageError
from byteformer_convert.mapping.config import SWITCHES, config_json
from byteformer_convert.mapping.labels import labels_for
from byteformer_convert.mapping.processor import processor_fields
from byteformer_convert.mapping.trim import kept_rows, trim_sentence, trimmed
from byteformer_convert.output.folder import (
    CARD_NAME,
    CONFIG_NAME,
    PROCESSOR_NAME,
    FileRecord,
    file_record,
    parse_size,
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
DTYPES = ("auto", "float32", "float16", "bfloat16")
LIBRARIES = ("torch", "transformers", "safetensors", "numpy", "pillow")


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
            "measured": self.parity.measured(),
            "files": [file.to_dict() for file in self.files],
            "notes": list(self.notes),
        }


def convert(request: Request, say: Say = quietly) -> Conversion:
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
    seen = checking.look(request.config, request.weights)
    source = load_options(request.config or request.weights, request.overrides)
    options = trimmed(source, request.trim_positions)
    labels = labels_for(options, request.labels)
    processor = processor_fields(options)
    with checking.blaming_changes(seen), ExitStack() as stack:
        process = None if request.skip_parity else stack.enter_context(checking.fresh_process())
        say("Reading the checkpoint")
        checkpoint = checking.read_checkpoint(request.weights, request.weights_key)
        checking.check_fit(checkpoint, source, request.weights.name)
        tensors = mapped_weights(checkpoint, options, request.dtype)
        folder = stack.enter_context(staged_folder(request.output, force=request.force))
        say("Writing the folder")
        _write_model(folder, tensors, options, labels, processor)
        pages = MappedPages(checkpoint.path, checkpoint.tensors.values())
        written = write_weights(folder, tensors, request.max_shard_size, pages.read)
        dtype = dtype_name(tensors)
        parity = _parity(folder, checkpoint, options, process, dtype, request, say)
        report = conversion_report(request, source, checkpoint, parity)
        files = _write_papers(folder, report, options, tensors, written, request)
        checking.refuse_changed(seen)
    return Conversion(request.output, report, files, parity, _notes(options, source, checkpoint, parity))


def library_versions() -> dict[str, str]:
    """Those that a conversion's numbers may depend on."""
    return {name: metadata.version(name) for name in LIBRARIES}


def mapped_weights(checkpoint: Checkpoint, options: CoreNetOptions, dtype: str) -> dict[str, Tensor]:
    """The folder's tensors, in the dtype asked for, with as many positions as the options say.

    Raises:
        CheckpointError: It holds values that the dtype cannot hold, which would become infinite.
    """
    import torch

    from byteformer_convert.corenet.tensor_checks import cast_tensors
    from byteformer_convert.mapping.weights import map_weights

    wanted = getattr(torch, own_dtype(checkpoint.tensors) if dtype == "auto" else dtype)
    kept = kept_rows(checkpoint.tensors, options.max_num_tokens)
    return map_weights(cast_tensors(kept, wanted, where=checkpoint.path.name))


def own_dtype(tensors: Mapping[str, Tensor]) -> str:
    """The checkpoint's dtype where all tensors share a half one; else float32, in which CoreNet computes."""
    names = {dtype_name({name: tensor}) for name, tensor in tensors.items()}
    return names.pop() if len(names) == 1 and names <= {"float16", "bfloat16"} else "float32"


def dtype_name(tensors: Mapping[str, Tensor]) -> str:
    """`float32` and the like, of tensors that share one dtype."""
    return str(next(iter(tensors.values())).dtype).removeprefix("torch.")


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


def _check_request(request: Request) -> None:
    checking.check_sources(request.config, request.weights, request.atol)
    if request.dtype not in DTYPES:
        raise UsageError(f"--dtype is {request.dtype!r}.", hint=f"Choose one of {', '.join(DTYPES)}.")
    if request.max_shard_size is not None:
        parse_size(request.max_shard_size)
    if request.published is not None:
        published(request.published)


def _write_model(
    folder: Path,
    tensors: Mapping[str, Tensor],
    options: CoreNetOptions,
    labels: Sequence[str],
    processor: Mapping[str, Any],
) -> None:
    """Everything but weights and papers."""
    write_json(folder / CONFIG_NAME, config_json(options, labels, dtype_name(tensors)))
    write_json(folder / PROCESSOR_NAME, processor)
    write_code(folder, options.task)


def _parity(
    folder: Path,
    checkpoint: Checkpoint,
    options: CoreNetOptions,
    process: FreshProcess | None,
    dtype: str,
    request: Request,
    say: Say,
) -> ParityReport:
    if process is None:
        return ParityReport("skipped", request.atol, dtype)
    report = checking.compare_with_source(
        folder, checkpoint, options, process, dtype, request.atol, say, detailed=request.detailed
    )
    if report.verdict == "failed":
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
    written: Sequence[FileRecord],
    request: Request,
) -> tuple[FileRecord, ...]:
    """The card and the report, which lists every other file; returns the records of all."""
    parameters = sum(tensor.numel() for tensor in tensors.values())
    card = model_card(
        CardFacts(
            name=Path(options.source).stem,
            options=options,
            parameters=parameters,
            parity=report["parity"],
            report=report,
            license=request.license,
            processor=processor_fields(options),
            published=None if request.published is None else published(request.published),
        )
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8", errors="backslashreplace")  # a file may have any name
    files = record_files(folder, written)
    report["files"] = [file.to_dict() for file in files]
    write_json(folder / REPORT_NAME, report)
    return tuple(sorted((*files, file_record(folder / REPORT_NAME)), key=attrgetter("name")))


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
