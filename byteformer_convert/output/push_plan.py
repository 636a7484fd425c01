"""What a push would send. Looks at the folder alone: needs no network, and changes nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import HubError, UsageError
from byteformer_convert.output.card_text import metadata_of, with_name
from byteformer_convert.output.folder import CARD_NAME, FileRecord, json_bytes
from byteformer_convert.output.folder_check import FolderCheck, check_folder
from byteformer_convert.output.staging import REPORT_NAME

MOST_SHOWN = 20

# Source: huggingface_hub.utils.validate_repo_id; here a user's or an organisation's name has to be there, too.
REPO_ID = re.compile(r"(?!.*(--|\.\.|\.git$))[\w.-]+/(?=[\w.-]{1,96}$)\w([\w.-]*\w)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One push, as asked for.

    Attributes:
        folder: A converted folder.
        repo_id: `USER/NAME` or `ORGANISATION/NAME`.
        private: Whether the repository is to be private; None to make a missing one as the Hub does by default, and
            to take one that is there as it is.
        revision: A branch, made where it is missing, or `refs/pr/N`; None for main.
        create_pr: Whether to open a pull request instead of writing to a branch.
        commit_message: First line of the commit; None for the default.
        commit_description: The rest of it.
        token: None for what `HF_TOKEN` or `hf auth login` gives. Not in the repr.
        allow_unverified: Whether to push a folder for which parity was not shown.
    """

    folder: Path
    repo_id: str
    private: bool | None = None
    revision: str | None = None
    create_pr: bool = False
    commit_message: str | None = None
    commit_description: str | None = None
    token: str | None = field(default=None, repr=False)
    allow_unverified: bool = False


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What would be sent.

    Attributes:
        request: What was asked for.
        files: What goes, with sizes and checksums as they are to be sent.
        beside: Names of files that lie in the folder and are not sent.
        rewritten: New contents of the folder's own files: the card that names its repository, the report with the
            card's new checksum. Empty where the card names it already.
        notes: Sentences that a person should read.
    """

    request: PushRequest
    files: tuple[FileRecord, ...]
    beside: tuple[str, ...]
    rewritten: Mapping[str, bytes]
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the token."""
        return {
            "folder": str(self.request.folder),
            "repo_id": self.request.repo_id,
            "files": [file.to_dict() for file in self.files],
            "size": self.size,
            "not_sent": list(self.beside),
            "rewritten": sorted(self.rewritten),
            "notes": list(self.notes),
        }


def plan_push(request: PushRequest) -> PushPlan:
    """Checks the folder, and lists what would be sent.

    Raises:
        UsageError: The name is none, or the options contradict each other.
        FolderError: There is no such folder.
        HubError: A file is missing, changed or not listed, or parity was not shown; names every problem.
    """
    _check_request(request)
    check = check_folder(request.folder)
    if problems := _problems(check, allow_unverified=request.allow_unverified):
        raise _refusal(check, problems)
    rewritten = _naming(check, request.repo_id)
    records = {name: _record(name, content) for name, content in rewritten.items()}
    files = tuple(records.get(file.name, file) for file in check.files)
    return PushPlan(request, files, check.beside, rewritten, _notes(check))


def _check_request(request: PushRequest) -> None:
    if not REPO_ID.fullmatch(request.repo_id):
        raise UsageError(
            f"{request.repo_id!r} is not the name of a repository.",
            hint="Write it as USER/NAME: letters, digits, `-`, `_` and `.`, the name at most 96 of them.",
        )
    if request.create_pr and request.revision not in (None, "main"):
        raise UsageError(
            "--create-pr opens a pull request against main; --revision asks for something else.",
            hint="Leave one of them out; to add to a pull request that is open, give --revision refs/pr/N alone.",
        )


def _problems(check: FolderCheck, *, allow_unverified: bool) -> list[str]:
    problems = [*check.problems, *_links_out(check)]
    if check.unverified is not None and check.report and not allow_unverified:
        problems.append(check.unverified)
    if not problems and _metadata(check) is None:
        problems.append(f"{CARD_NAME} does not begin with metadata between two lines of `---`")
    return problems


def _links_out(check: FolderCheck) -> list[str]:
    """Links are followed where a folder is read, for the Hub's cache is made of them; what they lead to is not sent."""
    folder = check.folder.resolve()
    names = [file.name for file in check.files if (folder / file.name).resolve().parent != folder]
    return [f"{name} is a link that leaves the folder" for name in names]


def _refusal(check: FolderCheck, problems: Sequence[str]) -> HubError:
    more = len(problems) - MOST_SHOWN
    shown = [f"{problem}." for problem in problems[:MOST_SHOWN]] + ([f"and {more:,} more."] if more > 0 else [])
    several = "\n  ".join(["is not ready to be published:", *shown])
    one = f"is not ready to be published: {problems[0]}."
    only_parity = list(problems) == [check.unverified]
    if only_parity:
        hint = "Convert again with parity, or push it as it is with --allow-unverified."
    elif not check.report:
        hint = "Give a folder as convert wrote it; what was fine-tuned goes with transformers' own push_to_hub."
    else:
        hint = "Convert again."
    return HubError(one if len(problems) == 1 else several, where=check.folder, hint=f"Nothing was sent. {hint}")


def _metadata(check: FolderCheck) -> Mapping[str, Any] | None:
    return metadata_of(read_plain(check.folder / CARD_NAME).decode("utf-8", errors="replace"))


def _naming(check: FolderCheck, repo_id: str) -> dict[str, bytes]:
    """The card with the repository's name in its code, and the report that fits it: strangers paste the code."""
    old = read_plain(check.folder / CARD_NAME)
    card = with_name(old.decode("utf-8", errors="surrogateescape"), repo_id).encode("utf-8", errors="surrogateescape")
    if card == old:
        return {}
    rows = [row for row in check.report["files"] if row["name"] != CARD_NAME]
    rows = sorted([*rows, _record(CARD_NAME, card).to_dict()], key=lambda row: str(row["name"]))
    try:
        report = json_bytes({**check.report, "files": rows})
    except (ValueError, RecursionError) as error:  # NaN, which Python reads and JSON does not know; or nested too deep
        raise _refusal(check, [f"{REPORT_NAME} cannot be written again: {error}"]) from error
    return {CARD_NAME: card, REPORT_NAME: report}


def _record(name: str, content: bytes) -> FileRecord:
    return FileRecord(name, len(content), hashlib.sha256(content).hexdigest())


def _notes(check: FolderCheck) -> tuple[str, ...]:
    notes = []
    if check.beside:
        notes.append(f"Not the folder's own, so not sent: {', '.join(check.beside)}.")
    if check.unverified is not None:
        notes.append(f"Published unverified: {check.unverified}.")
    if "license" not in (_metadata(check) or {}):
        notes.append("The card names no licence, and says so; convert with --license to name one.")
    return tuple(notes)
