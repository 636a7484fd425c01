"""One entry of a batch: converted, or left as it is where nothing has changed since; then pushed, if asked."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from byteformer_convert import __version__
from byteformer_convert.conversion import Request, asked, convert
from byteformer_convert.errors import ByteFormerConvertError, OutputError
from byteformer_convert.machine import lack_behind
from byteformer_convert.output.folder import CONFIG_NAME, file_record
from byteformer_convert.output.folder_check import check_folder
from byteformer_convert.output.staging import REPORT_NAME
from byteformer_convert.sources import Sources, find_sources

if TYPE_CHECKING:
    from byteformer_convert.batch.manifest import Entry

Status = Literal["converted", "skipped", "failed", "not started"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one entry.

    Attributes:
        name: The entry's.
        status: `skipped` means that the folder was there, made from the same inputs in the same way.
        exit_code: What `convert` or `push-to-hub` would have ended with.
        parity: passed or skipped; None where nothing was written.
        worst_difference: Largest difference of a logit, None where none was compared.
        error: As `--json` shows it; None where all went well.
        push: What the push did; None where none was asked for.
        notes: Sentences that a person should read.
    """

    name: str
    status: Status
    exit_code: int = 0
    parity: str | None = None
    worst_difference: float | str | None = None
    error: Mapping[str, Any] | None = None
    push: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for every entry.

    Attributes:
        output: The folder of all folders.
        cache_dir: Where published checkpoints are kept; None for the usual place.
        force: Whether folders made from other inputs may be replaced.
    """

    output: Path
    cache_dir: Path | None = None
    force: bool = False


def convert_entry(entry: Entry, settings: Settings) -> Outcome:
    """Converts one entry; whatever goes wrong is an outcome, so that the others go on."""
    try:
        return _converted(entry, settings)
    except ByteFormerConvertError as error:
        return Outcome(entry.name, "failed", error.exit_code, error=error.to_dict())
    except Exception as error:
        if (lack := lack_behind(error)) is not None:
            return Outcome(entry.name, "failed", lack.exit_code, error=lack.to_dict())
        # A bug: the report has its traceback.
        details = {"kind": "bug", "message": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        return Outcome(entry.name, "failed", 1, error=details)


def _converted(entry: Entry, settings: Settings) -> Outcome:
    target = settings.output / entry.name
    report = _report(target)
    # Only a folder that is there already needs its sources at once: for a new one, convert looks at everything.
    sources = find_sources(
        entry.weights,
        entry.config,
        entry.published,
        output=target,
        force=settings.force or report is not None,
        cache_dir=settings.cache_dir,
    )
    request = _request(entry, sources, target, force=settings.force)
    if report is not None and (change := _change(target, report, request)) is None:
        return _pushed(entry, target, Outcome(entry.name, "skipped", **_parity(report)))
    if report is not None and not settings.force:
        raise OutputError(
            f"is there already, and {change}.", where=target, hint="Give --force to replace what has changed."
        )
    conversion = convert(request)
    notes = (*sources.notes, *conversion.notes)
    return _pushed(entry, target, Outcome(entry.name, "converted", **_parity(conversion.report), notes=notes))


def _request(entry: Entry, sources: Sources, target: Path, *, force: bool) -> Request:
    return Request(
        weights=sources.weights,
        output=target,
        config=sources.config,
        overrides=entry.overrides,
        weights_key=entry.weights_key,  # type: ignore[arg-type]  # the manifest lets no other through
        labels=entry.labels,
        dtype=entry.dtype,
        max_shard_size=entry.max_shard_size,
        atol=entry.atol,
        skip_parity=entry.skip_parity,
        force=force,
        license=entry.license,
        published=sources.published,
        trim_positions=entry.trim_positions,
    )


def _report(target: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads((target / REPORT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _change(target: Path, report: Mapping[str, Any], request: Request) -> str | None:
    """Why the folder there is not what the request would make; None where it is."""
    sums = [source.get("sha256") for source in report.get("sources", ())]
    rows = report.get("options", {}).get("model.classification.byteformer.max_num_tokens")
    wanted = asked(request) | {"overrides": list(request.overrides), "published": request.published}
    trimmed = (report.get("trimmed_positions") or {}).get("to")
    if report.get("tool", {}).get("version") != __version__:
        return "another version of this tool made it"
    if sums != _sums(request):
        return "its YAML or weights are not what they were"
    if {**report.get("request", {}), **{name: report.get(name) for name in ("overrides", "published")}} != wanted:
        return "it was converted in another way"
    if (trimmed or rows) != (request.trim_positions or rows):
        return "it was converted with other positions"
    problems = check_folder(target).problems
    return f"it is not whole: {problems[0]}" if problems else None


def _sums(request: Request) -> list[str] | None:
    """sha256 of YAML and weights; None where they cannot be read any more."""
    try:
        return [file_record(request.config or request.weights / CONFIG_NAME).sha256, weights_sum(request.weights)]
    except OSError:
        return None


def weights_sum(weights: Path) -> str:
    """sha256 as the report has it: of the file, or of an adapter folder's weight files one after the other."""
    files: tuple[Path, ...] = (weights,)
    if weights.is_dir():
        from byteformer_convert.corenet.adapter_folder import weight_files

        files = weight_files(weights)
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _parity(report: Mapping[str, Any]) -> dict[str, Any]:
    parity = report["parity"]
    differences = [case["max_difference"] for case in parity["cases"]]
    return {"parity": parity["verdict"], "worst_difference": max(differences, default=None)}


def _pushed(entry: Entry, target: Path, outcome: Outcome) -> Outcome:
    if entry.push is None:
        return outcome
    from byteformer_convert.output.publish import push
    from byteformer_convert.output.push_plan import PushRequest, plan_push

    try:
        done = push(plan_push(PushRequest(folder=target, **entry.push)), lambda message: None)
    except ByteFormerConvertError as error:
        return replace(outcome, exit_code=error.exit_code, error=error.to_dict())
    return replace(outcome, push={"url": done.url, "commit": done.commit, "changed": done.changed})
