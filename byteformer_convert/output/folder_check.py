"""Whether a folder still is what its conversion_report.json says, and whether parity was shown for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteformer_convert.corenet.option_table import shown
from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import FolderError
from byteformer_convert.output.folder import (
    BATCH_CODE,
    CARD_NAME,
    CONFIG_NAME,
    INDEX_NAME,
    MODEL_CODE,
    PROCESSOR_NAME,
    WEIGHTS_NAME,
    FileRecord,
    file_record,
)
from byteformer_convert.output.staging import REPORT_NAME

REQUIRED = (CONFIG_NAME, PROCESSOR_NAME, CARD_NAME, *MODEL_CODE, BATCH_CODE)

# What transformers may load or run; such a file is not harmless because the report doesn't know it.
LOADED = (".bin", ".json", ".py", ".safetensors")


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """A folder against its report.

    Attributes:
        folder: The folder.
        report: What conversion_report.json says; empty where it cannot be read.
        files: The folder's own files as they are now, the report included.
        problems: Files that are missing, changed or not listed, one sentence each.
        unverified: Why nothing shows that the folder computes what CoreNet computes; None where parity holds.
        beside: Names of other files in the folder, which are not the folder's own.
    """

    folder: Path
    report: Mapping[str, Any]
    files: tuple[FileRecord, ...]
    problems: tuple[str, ...]
    unverified: str | None
    beside: tuple[str, ...]


def check_folder(folder: Path) -> FolderCheck:
    """Re-hashes every file that conversion_report.json lists.

    Raises:
        FolderError: There is no such folder.
    """
    if not folder.is_dir():
        raise FolderError("is not a folder.", where=folder, hint="Give a folder that byteformer-convert wrote.")
    report = _read_report(folder)
    if isinstance(report, str):
        return FolderCheck(folder, {}, (), (report,), "there is no report", ())
    listed = _listed(report.get("files"))
    if isinstance(listed, str):
        return FolderCheck(folder, report, (), (listed,), parity_gap(report), ())
    present = sorted(path.name for path in folder.iterdir() if not path.is_dir() and path.name != REPORT_NAME)
    beside = [name for name in present if name not in listed]
    own, problems = _compare(folder, listed)
    problems += [f"{name} is not listed in {REPORT_NAME}" for name in _unlisted(listed, beside)]
    files = tuple(sorted((*own, file_record(folder / REPORT_NAME)), key=lambda file: file.name))
    return FolderCheck(folder, report, files, tuple(problems), parity_gap(report), tuple(beside))


def parity_gap(report: Mapping[str, Any]) -> str | None:
    """Why a report does not show parity; None where it does."""
    parity = report.get("parity")
    verdict = parity.get("verdict") if isinstance(parity, dict) else None
    if verdict is None:
        return f"{REPORT_NAME} says nothing of parity"
    if verdict == "skipped":
        return "parity was skipped when the folder was written"
    return None if verdict == "passed" else f"parity is {shown(verdict)}"


def _read_report(folder: Path) -> dict[str, Any] | str:
    """The report, or what is wrong with it."""
    try:
        content = json.loads(read_plain(folder / REPORT_NAME).decode())
    except FileNotFoundError:
        return f"{REPORT_NAME} is missing"
    except (OSError, ValueError, RecursionError) as error:
        return f"{REPORT_NAME} cannot be read: {error}"
    return content if isinstance(content, dict) else f"{REPORT_NAME} is not a JSON object"


def _listed(rows: Any) -> dict[str, FileRecord] | str:
    """The listed files by name, or what is wrong with the list."""
    try:
        records = [FileRecord(str(row["name"]), int(row["size"]), str(row["sha256"])) for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError):
        return f"{REPORT_NAME} does not list the folder's files"
    if outside := [record.name for record in records if Path(record.name).name != record.name]:
        return f"{REPORT_NAME} lists {shown(outside[0])}, which is not a file of the folder itself"
    return {record.name: record for record in records}


def _compare(folder: Path, listed: Mapping[str, FileRecord]) -> tuple[list[FileRecord], list[str]]:
    own, problems = [], []
    for name, record in listed.items():
        try:
            own.append(file_record(folder / name))
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            problems.append(f"{name} is missing" if missing else f"{name} cannot be read: {error.strerror}")
        else:
            if own[-1] != record:
                problems.append(f"{name} was changed after the conversion")
    return own, problems


def _unlisted(listed: Mapping[str, FileRecord], beside: Iterable[str]) -> list[str]:
    weights = [] if WEIGHTS_NAME in listed or INDEX_NAME in listed else [WEIGHTS_NAME]
    required = [name for name in (*REQUIRED, *weights) if name not in listed]
    return sorted({*required, *(name for name in beside if name.lower().endswith(LOADED))})
