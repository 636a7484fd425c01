"""Fetches one large file over HTTPS into a folder: goes on where it was cut off, and proves what it got.

While a file is under way it is NAME.part, with NAME.part.json saying what it is a part of; once whole it is NAME, with
NAME.json holding its size and sha256. A file without its NAME.json is never taken for a whole one.

httpx2 is here already as the client under huggingface_hub 2; unlike urllib it tells a cut connection from a finished
one, and trusts the certificates of the operating system.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from byteformer_convert.errors import DownloadError, OutputError

if TYPE_CHECKING:
    import httpx2

Progress = Callable[[int, int | None], None]
"""Is told how many bytes are there, and how many there will be (None where the server does not say)."""

CONNECT_SECONDS: Final = 15.0
READ_SECONDS: Final = 60.0
WAYS_ROUND: Final = "Or get the file in another way (a browser) and give it with --weights FILE."


@dataclass(frozen=True, slots=True)
class Whole:
    """A file that was downloaded to its end.

    Attributes:
        path: Where it is.
        url: Where it came from.
        size: Bytes.
        sha256: Of what arrived.
        reused: Whether it was there already.
    """

    path: Path
    url: str
    size: int
    sha256: str
    reused: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """What NAME.part is a part of. `validator`, a strong ETag or a date, asks for more of exactly the same file."""

    url: str
    validator: str | None
    total: int | None


class _Cut(Exception):
    """The connection ended before the file did."""


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress = lambda done, total: None,
    transport: httpx2.BaseTransport | None = None,
) -> Whole:
    """Fetches a file, or takes it from an earlier time.

    Args:
        url: Where it is.
        target: Where to put it; the folder is made. A lock keeps two processes from fetching it at once.
        size: Bytes it must have, where known.
        sha256: Sum it must have, where known.
        progress: Is told how far it got.
        transport: Another way to the server, for tests.

    Raises:
        DownloadError: It cannot be fetched, or is not what it should be. What had arrived of a cut download is kept.
        OutputError: It cannot be written.
    """
    with _writing(target), _locked(target):
        if (whole := _from_before(target, url, size, sha256)) is not None:
            return whole
        _fetch(url, target, progress, transport)
        return _accept(url, target, size, sha256)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the download cannot be written: {error.strerror or error}.",
            where=target.parent,
            hint="Choose another place with --cache-dir.",
        ) from error


def _from_before(target: Path, url: str, size: int | None, sha256: str | None) -> Whole | None:
    """The file of an earlier download, looked at again; None, and it is fetched anew, if it is not what it was."""
    record = _read_json(_record(target))
    if not target.is_file() or record.get("url") != url:
        return None
    found = Whole(target, url, target.stat().st_size, _sha256(target), reused=True)
    as_it_was = (found.size, found.sha256) == (record.get("size"), record.get("sha256"))
    as_published = size in (None, found.size) and sha256 in (None, found.sha256)
    return found if as_it_was and as_published else None


def _fetch(url: str, target: Path, progress: Progress, transport: httpx2.BaseTransport | None) -> None:
    """Streams into NAME.part until it is whole; asks again for the rest as long as every time brings some of it."""
    import httpx2

    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    headers = {"Accept-Encoding": "identity", "User-Agent": "byteformer-convert"}
    with httpx2.Client(timeout=timeout, headers=headers, follow_redirects=True, transport=transport) as client:
        while True:
            before = _arrived(target)
            try:
                return _stream(client, url, target, progress)
            except _Cut as cut:
                if _arrived(target) <= before:
                    raise _cut_off(url, target, cut) from cut.__cause__
            except (httpx2.TransportError, httpx2.InvalidURL, httpx2.TooManyRedirects) as error:
                raise _unreachable(url, error) from error


def _stream(client: httpx2.Client, url: str, target: Path, progress: Progress) -> None:
    part = _known_part(target, url)
    if part is not None and part.total == _arrived(target):
        return
    done = 0 if part is None or part.validator is None else _arrived(target)
    asked = {"Range": f"bytes={done}-", "If-Range": part.validator} if part and part.validator and done else {}
    with client.stream("GET", url, headers=asked) as response:
        fits = _continues(response, done, part)
        if not asked or response.status_code not in (206, 416) or fits:
            _receive(response, url, target, done if fits else 0, progress)
            return
    # What is here is of no use to this server: away with it, and once more from the beginning.
    _part_record(target).unlink(missing_ok=True)
    _part(target).unlink(missing_ok=True)
    _stream(client, url, target, progress)


def _continues(response: httpx2.Response, done: int, part: _Part | None) -> bool:
    """Whether the answer is exactly the rest of the part."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return bool(found and part and response.status_code == 206 and (int(found[1]), int(found[2])) == (done, part.total))


def _receive(response: httpx2.Response, url: str, target: Path, done: int, progress: Progress) -> None:
    """Writes an answer into NAME.part, from byte `done` on."""
    import httpx2

    _check_answer(response, url)
    length = response.headers.get("Content-Length", "")
    total = done + int(length) if length.isdecimal() else None
    _write_json(_part_record(target), asdict(_Part(url, _validator(response), total)))
    try:
        with _part(target).open("ab" if done else "wb") as file:
            for chunk in response.iter_raw():  # as they come: larger chunks would be lost in a cut
                if done == 0:
                    _refuse_page(chunk, url)
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    except httpx2.TransportError as error:
        raise _Cut(str(error) or type(error).__name__) from error


def _validator(response: httpx2.Response) -> str | None:
    tag = str(response.headers.get("ETag", ""))
    if tag and not tag.startswith("W/"):  # a weak one promises the meaning, not the bytes
        return tag
    return response.headers.get("Last-Modified")


def _accept(url: str, target: Path, size: int | None, sha256: str | None) -> Whole:
    part = _part(target)
    whole = Whole(target, url, part.stat().st_size, _sha256(part), reused=False)
    if size not in (None, whole.size) or sha256 not in (None, whole.sha256):
        _part_record(target).unlink(missing_ok=True)
        part.unlink()
        raise DownloadError(
            f"what came is not the published file: {whole.size:,} bytes, sha256 {whole.sha256}; "
            f"it should be {size or whole.size:,} bytes, sha256 {sha256}.",
            where=url,
            hint=f"Try again later; do not use another file under this name. {WAYS_ROUND}",
        )
    _write_json(_record(target), {"url": url, "size": whole.size, "sha256": whole.sha256})
    part.replace(target)
    _part_record(target).unlink(missing_ok=True)
    return whole


def _check_answer(response: httpx2.Response, url: str) -> None:
    code = response.status_code
    if url.startswith("https:") and response.url.scheme != "https":
        raise DownloadError(f"it leads to {response.url}, which is not encrypted.", where=url, hint=WAYS_ROUND)
    if code == 200 or (code == 206 and "Range" in response.request.headers):
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise _page(url)
        return
    reason = f"the server answered {code} {response.reason_phrase}".rstrip()
    if code in (404, 410):
        raise DownloadError(
            f"there is no such file ({reason}).", where=url, hint=f"It may have moved since. {WAYS_ROUND}"
        )
    if code in (401, 403, 407):
        raise DownloadError(f"{reason}: it may not be fetched from here.", where=url, hint=WAYS_ROUND)
    raise DownloadError(f"{reason}.", where=url, hint=f"Try again later. {WAYS_ROUND}")


def _refuse_page(first: bytes, url: str) -> None:
    if first.lstrip()[:1] == b"<":  # no checkpoint begins like this
        raise _page(url)


def _page(url: str) -> DownloadError:
    return DownloadError(
        "a web page came instead of weights.",
        where=url,
        hint=f"A login page or a proxy may stand between: open the address in a browser. {WAYS_ROUND}",
    )


def _cut_off(url: str, target: Path, cut: _Cut) -> DownloadError:
    return DownloadError(
        f"the connection was cut after {_arrived(target):,} bytes ({cut}).",
        where=url,
        hint="Run the same command again: it goes on from there.",
    )


def _unreachable(url: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"cannot be reached: {str(error) or type(error).__name__}.",
        where=url,
        hint=f"Look at the network, and at HTTPS_PROXY where there is a proxy. {WAYS_ROUND}",
    )


def _known_part(target: Path, url: str) -> _Part | None:
    content = _read_json(_part_record(target))
    if content.get("url") != url or not _part(target).is_file():
        return None
    return _Part(url, content.get("validator"), content.get("total"))


def _arrived(target: Path) -> int:
    return _part(target).stat().st_size if _part(target).is_file() else 0


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _part_record(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _record(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
