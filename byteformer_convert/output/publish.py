"""Publishes a checked folder on the Hub. The only module that imports the Hub's client."""

from __future__ import annotations

import glob
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitInfo, HfApi, ModelInfo, get_token
from huggingface_hub import logging as hub_logging
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from byteformer_convert import __version__
from byteformer_convert.errors import HubError, OutputError
from byteformer_convert.output.hub_errors import Fault, kind_of_status
from byteformer_convert.output.placed_files import placed_files

if TYPE_CHECKING:
    from byteformer_convert.output.push_plan import PushPlan, PushRequest

MAIN = "main"
MESSAGE = "Upload a ByteFormer converted from CoreNet"

# Such a file in the repository that the folder does not hold is left from an older push. It must go: transformers
# loads a stale model.safetensors rather than the shards that replace it.
OURS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|\w+_byteformer\.py")

TransportError: type[Exception] = HfHubHTTPError.__bases__[0]  # of the HTTP library, which changes with the client
KINDS: tuple[tuple[type[Exception], str], ...] = (
    (OfflineModeIsEnabled, "offline"),
    (LocalTokenNotFoundError, "no token"),
    (OIDCError, "oidc"),
    (RevisionNotFoundError, "no branch"),
    (RepositoryNotFoundError, "not found"),
    (json.JSONDecodeError, "strange answer"),  # the client reads an answer before it looks at its status
    (ConnectionError, "xet"),  # hf_xet raises nothing else
)
UNAUTHORIZED, CONFLICT = 401, 409
NO_ANSWER = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Push:
    """A finished push.

    Attributes:
        plan: What was to be sent.
        url: Of the repository.
        revision: Where the files are now: a branch, or `refs/pr/N`.
        commit: Its newest commit.
        changed: Whether there was anything to send.
        created: Whether the repository was made.
        deleted: Files of older pushes that were removed.
        pull_request: Its address, where one was opened.
        warnings: What the Hub says of the card.
    """

    plan: PushPlan
    url: str
    revision: str
    commit: str
    changed: bool
    created: bool = False
    deleted: tuple[str, ...] = ()
    pull_request: str | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the token."""
        return self.plan.to_dict() | {
            "url": self.url,
            "revision": self.revision,
            "commit": self.commit,
            "changed": self.changed,
            "created": self.created,
            "deleted": list(self.deleted),
            "pull_request": self.pull_request,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class _Remote:
    """What the Hub has, against the plan: what to send, what to delete."""

    different: tuple[str, ...]
    stale: tuple[str, ...]


def push(plan: PushPlan, say: Say, *, progress: bool = False) -> Push:
    """Sends what the plan lists, nothing else, and compares what arrived. Sends nothing that is there already.

    Args:
        plan: Of `plan_push`, just made.
        say: Is told what happens.
        progress: Whether the client may draw its progress bars on stderr.

    Raises:
        HubError: The Hub refused, or could not be reached; a second run goes on where this one stopped.
        OutputError: The card cannot be rewritten to name the repository.
    """
    if not progress:
        disable_progress_bars()
    hub_logging.set_verbosity(logging.ERROR)  # its advice is in words of the library: `create_pr=True`
    with _translated(plan.request), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = _push(_api(plan.request), plan, say)
    told = tuple(str(entry.message) for entry in caught if entry.category is UserWarning)
    return Push(**{name: getattr(result, name) for name in Push.__slots__} | {"warnings": told})


def _push(api: HfApi, plan: PushPlan, say: Say) -> Push:
    request = plan.request
    say(f"Looking at {request.repo_id} on {api.endpoint}")
    created = _ensure_repo(api, request)
    revision = _ensure_branch(api, request)
    _rewrite(plan)
    remote = _compare(api, plan, revision)
    url = f"{api.endpoint}/{request.repo_id}"
    if not remote.different and not remote.stale:
        sha = str(api.model_info(request.repo_id, revision=revision).sha)
        return Push(plan, url, revision, sha, changed=False, created=created)
    say(f"Sending {len(remote.different)} of {len(plan.files)} files")
    commit = _upload(api, plan, revision, remote)
    say("Comparing checksums with the Hub's")
    if wrong := _compare(api, plan, commit.oid).different:
        raise Fault("arrived", ", ".join(wrong)).error(request.repo_id)
    return Push(
        plan,
        url,
        revision=commit.pr_revision or revision,
        commit=commit.oid,
        changed=True,
        created=created,
        deleted=remote.stale,
        pull_request=commit.pr_url,
    )


def _api(request: PushRequest) -> HfApi:
    token = request.token if request.token is not None else get_token()
    if token is None:
        raise Fault("no token").error(request.repo_id)
    if not _is_token(token):
        # It must not get as far as the HTTP library, whose complaint would quote it.
        raise Fault("malformed token").error(request.repo_id)
    return HfApi(token=token, library_name="byteformer-convert", library_version=__version__)


def _is_token(token: str) -> bool:
    return re.fullmatch(r"[!-~]+", token) is not None


def _ensure_repo(api: HfApi, request: PushRequest) -> bool:
    """Makes the repository where it is missing, and says whether it did."""
    info = _repo_info(api, request.repo_id)
    if info is not None:
        _check_visibility(request, private=bool(info.private))
        return False
    if request.create_pr:
        raise Fault("not found").error(request.repo_id)
    try:
        api.create_repo(request.repo_id, private=request.private)
    except HfHubHTTPError as error:
        if error.response.status_code == CONFLICT:  # it is there, but we were told that it is not
            raise Fault("name taken").error(request.repo_id) from error
        raise
    return True


def _repo_info(api: HfApi, repo_id: str) -> ModelInfo | None:
    try:
        return api.model_info(repo_id)
    except RepositoryNotFoundError:
        return None


def _check_visibility(request: PushRequest, *, private: bool) -> None:
    if request.private is None or request.private == private:
        return
    there, asked = ("private", "--no-private") if private else ("public", "--private")
    raise HubError(
        f"is there already and {there}, but {asked} was given. Nothing was sent.",
        where=request.repo_id,
        hint=f"Choose another name, change the repository's visibility in its settings, or leave {asked} out.",
    )


def _ensure_branch(api: HfApi, request: PushRequest) -> str:
    """The branch to write to, made where it is missing; a pull request's ref has to be there."""
    revision = request.revision or MAIN
    if revision != MAIN:
        try:
            api.model_info(request.repo_id, revision=revision)
        except RevisionNotFoundError:
            if revision.startswith("refs/"):
                raise
            api.create_branch(request.repo_id, branch=revision, exist_ok=True)
    return revision


def _rewrite(plan: PushPlan) -> None:
    """Puts the repository's name into the card, and the card's checksum into the report."""
    folder = plan.request.folder
    if not plan.rewritten:
        return
    try:
        with placed_files([folder / name for name in plan.rewritten], force=True) as paths:
            for path, content in zip(paths, plan.rewritten.values(), strict=True):
                path.write_bytes(content)
    except (OutputError, PermissionError) as error:
        raise OutputError(
            "cannot be written to, but its card is to name the repository.",
            where=folder,
            hint="Push a copy of the folder that you may write to.",
        ) from error


def _compare(api: HfApi, plan: PushPlan, revision: str) -> _Remote:
    found = api.verify_repo_checksums(plan.request.repo_id, revision=revision, local_dir=plan.request.folder)
    not_equal = {mismatch["path"] for mismatch in found.mismatches} | set(found.extra_paths)
    names = {file.name for file in plan.files}
    stale = [path for path in found.missing_paths if OURS.fullmatch(path)]
    return _Remote(tuple(sorted(not_equal & names)), tuple(sorted(stale)))


def _upload(api: HfApi, plan: PushPlan, revision: str, remote: _Remote) -> CommitInfo:
    request = plan.request
    return api.upload_folder(
        repo_id=request.repo_id,
        folder_path=request.folder,
        revision=None if request.create_pr else revision,
        create_pr=request.create_pr,
        commit_message=request.commit_message or MESSAGE,
        commit_description=request.commit_description,
        allow_patterns=[glob.escape(file.name) for file in plan.files],
        delete_patterns=[glob.escape(path) for path in remote.stale] or None,
    )


@contextmanager
def _translated(request: PushRequest) -> Iterator[None]:
    """Turns what the client raises into a HubError that says what to do, without the token."""
    try:
        yield
    except (TransportError, OSError, OIDCError, RuntimeError, ValueError) as error:
        fault = _fault(error)
        if fault is None:
            raise
        token = request.token or _token_or_none()
        detail = fault.detail.replace(token, "***") if token else fault.detail
        if fault.kind == "forbidden":
            detail = _whose(token) or detail
        # A traceback shows the cause, too.
        cause = None if token and token in str(error) else error
        raise Fault(fault.kind, detail).error(request.repo_id, create_pr=request.create_pr) from cause


def _fault(error: Exception) -> Fault | None:
    """Which failure this is; None where it is none of the client's."""
    words = str(error)
    kind = next((kind for types, kind in KINDS if isinstance(error, types)), None)
    if isinstance(error, HfHubHTTPError) and kind is None:
        return _http_fault(error)
    if isinstance(error, TransportError) and kind is None:
        return Fault("unreachable" if type(error).__name__ in NO_ANSWER else "cut", words)
    if kind == "xet" and "xet-write-token" in words:
        return Fault("no xet")
    if kind in ("oidc", "xet"):
        return Fault(kind, words.rpartition("error: ")[2])  # the innermost of several
    if isinstance(error, ValueError) and "Invalid metadata" in words:
        return Fault("card", words)
    if isinstance(error, RuntimeError):  # a file did not get through, even after the client's own attempts
        return Fault("cut", words)
    return None if kind is None else Fault(kind)


def _http_fault(error: HfHubHTTPError) -> Fault:
    status = error.response.status_code
    words = error.server_message or ""
    if not words or "<" in words:  # a page for people to look at
        words = f"HTTP status {status}"
    return Fault(kind_of_status(status), "" if status == UNAUTHORIZED else words)


def _token_or_none() -> str | None:
    with suppress(Exception):
        return get_token()
    return None


def _whose(token: str | None) -> str:
    """Whose token it is, and what it may do: the usual reasons for a refusal."""
    with suppress(Exception):
        about = HfApi(token=token).whoami()
        role = about["auth"]["accessToken"]["role"]
        return f"it belongs to {about['name']}, and its role is {role}"
    return ""
