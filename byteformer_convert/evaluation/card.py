"""Writes measured numbers into a folder's model card, beside those that others state and apart from them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from byteformer_convert import __version__
from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import FolderError
from byteformer_convert.output.card_text import METADATA, metadata_of
from byteformer_convert.output.finished import read_object
from byteformer_convert.output.folder import CARD_NAME, file_record, write_json
from byteformer_convert.output.staging import REPORT_NAME, check_ours, staged_folder

if TYPE_CHECKING:
    from byteformer_convert.evaluation.request import EvaluationRequest
    from byteformer_convert.evaluation.result import Evaluation, Share

TOOL: Final = "byteformer-convert"
TASK_TYPES: Final = {"image": "image-classification", "audio": "audio-classification"}
NO_METADATA: Final = "has no metadata between two lines of ---."
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
BLOCK: Final = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END) + r"\n*", re.DOTALL)
BEFORE: Final = re.compile(r"^## (Parity with CoreNet|Provenance|Licence|Citation)", re.MULTILINE)


def check_card(folder: Path) -> None:
    """Refuses a folder whose card could not be written, before anything is measured.

    Raises:
        FolderError: Its card has no metadata, or its report cannot be read.
        OutputError: It holds what is not this tool's, which would be lost.
    """
    card, _ = _read(folder)
    if metadata_of(card) is None:
        raise FolderError(NO_METADATA, where=CARD_NAME)
    hint = "Move that elsewhere, or leave out --write-card; --json has the numbers, too."
    check_ours(folder, "so its card is not written anew", hint)


def write_to_card(folder: Path, task: str, evaluation: Evaluation, request: EvaluationRequest) -> None:
    """Adds the numbers to the card's model-index and text, and corrects the card's sum in the report.

    The same command on the same data replaces what it wrote before; everything else in the card stays. The folder is
    the old one or the new one, whole, whatever happens.

    Args:
        folder: A converted folder.
        task: `image` or `audio`.
        evaluation: What was measured.
        request: What was asked for.

    Raises:
        FolderError: Its card has no metadata, or its report cannot be read.
        OutputError: It cannot be written.
    """
    card, report = _read(folder)
    text = with_measurement(card, measurement(task, evaluation, request), folder.resolve().name)
    with staged_folder(folder, force=True) as staged:
        shutil.copytree(folder, staged, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        _replace(staged / CARD_NAME, text)
        report["files"] = [
            file_record(staged / CARD_NAME).to_dict() if file.get("name") == CARD_NAME else file
            for file in report["files"]
        ]
        (staged / REPORT_NAME).unlink()
        write_json(staged / REPORT_NAME, report)


def measurement(task: str, evaluation: Evaluation, request: EvaluationRequest) -> dict[str, Any]:
    """One result of a model-index: the metrics, on what data, by what command.

    It has no `source`: the Hub's client refuses one without an address, and these numbers have none.
    """
    score = evaluation.faithful
    name = request.data_name or request.data.resolve().name
    tool = {"tool": f"{TOOL} {__version__}", "command": command(request)}
    return {
        "task": {"type": TASK_TYPES[task]},
        "dataset": {
            "name": name,
            "type": name,
            # The Hub's client puts results of one data set and configuration together, under one source.
            "config": tool["command"],
            "args": {
                "files": evaluation.files,
                "scored": evaluation.scored,
                "batches": evaluation.batches,
                "axis_one_norm": evaluation.norm_sentence(),
            },
        },
        "metrics": [
            _metric("accuracy", "Top-1 accuracy (%)", score.top1, tool),
            _metric("accuracy", "Top-5 accuracy (%)", score.top5, tool),
        ],
    }


def _metric(kind: str, name: str, share: Share, tool: Mapping[str, str]) -> dict[str, Any]:
    low, high = share.interval or (0.0, 0.0)
    bounds = [round(100 * low, 2), round(100 * high, 2)]
    value = round(100 * (share.value or 0.0), 2)
    return {"type": kind, "name": f"{name}, measured by {TOOL}", "value": value, "args": {**tool, "interval95": bounds}}


def command(request: EvaluationRequest) -> str:
    """The command that gives these numbers: what changes them, and no path of this machine."""
    words = [TOOL, "evaluate", request.folder.resolve().name, "--data", request.data.resolve().name]
    words += ["--split", request.split] if request.split is not None else []
    words += ["--raw"] if request.raw else []
    words += ["--class-order", request.class_order] if request.class_order != "check" else []
    words += ["--batch-size", str(request.batch_size)]
    words += [] if request.padded else ["--unpadded"]
    words += ["--mixed-precision", request.mixed_precision] if request.mixed_precision != "no" else []
    words += ["--limit", str(request.limit)] if request.limit is not None else []
    words += ["--seed", str(request.seed)] if request.seed else []
    words += ["--compare", request.compare] if request.compare else []
    return shlex.join(words)


def with_measurement(card: str, result: Mapping[str, Any], name: str) -> str:
    """The card with one more result, in its metadata and in its text.

    Raises:
        FolderError: It has no metadata.
    """
    metadata = metadata_of(card)
    if metadata is None:
        raise FolderError(NO_METADATA, where=CARD_NAME)
    index = metadata.setdefault("model-index", [{"name": name, "results": []}])
    try:
        return _with_result(card, metadata, index[0], result)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise FolderError(f"its model-index is not one: {error!r:.200}.", where=CARD_NAME) from error


def _with_result(card: str, metadata: Mapping[str, Any], model: dict[str, Any], result: Mapping[str, Any]) -> str:
    results = [other for other in model["results"] if not _same_measurement(other, result)]
    model["results"] = [*results, dict(result)]
    block = yaml.safe_dump(metadata, sort_keys=True, allow_unicode=True).strip()
    text = METADATA.sub(lambda _: f"---\n{block}\n---", card, count=1)
    measured = [other for other in model["results"] if _is_ours(other)]
    return _with_section(BLOCK.sub("", text), _section(measured))


def _is_ours(result: Mapping[str, Any]) -> bool:
    return any(str(metric.get("args", {}).get("tool", "")).startswith(TOOL) for metric in result.get("metrics", ()))


def _same_measurement(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _is_ours(one) and _identity(one) == _identity(other)


def _identity(result: Mapping[str, Any]) -> tuple[str, str]:
    return result["dataset"]["name"], result["metrics"][0]["args"]["command"]


def _section(measured: Sequence[Mapping[str, Any]]) -> str:
    heading = "## Measured accuracy\n\nMeasured with this folder, not taken from the paper; intervals are of 95 %."
    return "\n".join([BEGIN, heading, "", *map(_item, measured), END, ""])


def _item(result: Mapping[str, Any]) -> str:
    data, (top1, top5) = result["dataset"], result["metrics"][:2]
    arguments = data["args"]
    low, high = top1["args"]["interval95"]
    return (
        f"- **{data['name']}**, {arguments['scored']:,} of {arguments['files']:,} files: top-1 {top1['value']:.2f} % "
        f"({low:.2f} to {high:.2f}), top-5 {top5['value']:.2f} %. {_sentence(arguments['batches'])}. "
        f"{arguments['axis_one_norm']} By {top1['args']['tool']}: `{top1['args']['command']}`"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_section(text: str, section: str) -> str:
    place = BEFORE.search(text)
    if place is None:
        return f"{text.rstrip()}\n\n{section}"
    return f"{text[: place.start()]}{section}\n{text[place.start() :]}"


def _read(folder: Path) -> tuple[str, dict[str, Any]]:
    try:
        card = read_plain(folder / CARD_NAME).decode()
        report = read_object(folder / REPORT_NAME)
        report["files"] = [dict(file) for file in report["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(f"its card or its report cannot be read: {error}.", where=folder) from error
    return card, report


def _link(source: str, target: str) -> None:
    """Weights are large, and the same in both folders."""
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _replace(path: Path, text: str) -> None:
    path.unlink()  # a link to the old folder's file, which has to stay as it is
    path.write_text(text, encoding="utf-8")
