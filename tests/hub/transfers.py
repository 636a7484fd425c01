"""Git LFS, over which a client without Xet sends large files; and every download."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from tests.hub.api import ID, readable, writable
from tests.hub.server import Hub, Request, Response, answer, refuse, route

if TYPE_CHECKING:
    from tests.hub.store import Repo


@route("POST", rf"/{ID}\.git/info/lfs/objects/batch")
def batch(hub: Hub, request: Request) -> Response:
    """Where each object goes; an object that is there gets no address, and is not sent."""
    repo = writable(hub, request)
    if isinstance(repo, Response):
        return repo
    return answer({"transfer": "basic", "objects": [_object(hub, row) for row in request.json["objects"]]})


def _object(hub: Hub, row: dict[str, object]) -> dict[str, object]:
    if row["oid"] in hub.store.contents or row["oid"] in hub.store.xet_of_sha256:
        return row
    return row | {"actions": {"upload": {"href": f"{hub.storage}/storage/{row['oid']}"}}}


@route("PUT", "/storage/(?P<oid>[0-9a-f]{64})")
def put(hub: Hub, request: Request) -> Response:
    if hashlib.sha256(request.body).hexdigest() != request.groups["oid"]:
        return refuse(400, "the content is not what its name says")
    hub.store.contents[request.groups["oid"]] = request.body
    return Response(200)


@route("GET", "/storage/(?P<oid>[0-9a-f]+)")
def get(hub: Hub, request: Request) -> Response:
    return ranged(hub.store.contents[request.groups["oid"]], request)


def ranged(content: bytes, request: Request) -> Response:
    """The content, or the part of it that was asked for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None:
        return Response(200, content)
    start, end = int(match[1]), int(match[2] or len(content) - 1)
    if start >= len(content):
        return Response(416, headers={"Content-Range": f"bytes */{len(content)}"})
    part = content[start : end + 1]
    return Response(206, part, {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"})


@route("HEAD", f"/{ID}/resolve/(?P<rev>refs/pr/[0-9]+|[^/]+)/(?P<path>.+)")
def head(hub: Hub, request: Request) -> Response:
    return _resolve(hub, request)


@route("GET", f"/{ID}/resolve/(?P<rev>refs/pr/[0-9]+|[^/]+)/(?P<path>.+)")
def download(hub: Hub, request: Request) -> Response:
    return _resolve(hub, request)


def _resolve(hub: Hub, request: Request) -> Response:
    repo = readable(hub, request)
    if isinstance(repo, Response):
        return repo
    sha = repo.resolve(request.groups["rev"])
    if sha is None:
        return refuse(404, "Invalid rev id", "RevisionNotFound")
    entry = repo.commits[sha].get(request.groups["path"])
    if entry is None:
        missing = refuse(404, "Entry not found", "EntryNotFound")
        return Response(404, missing.body, missing.headers | {"X-Repo-Commit": sha})
    headers = {"X-Repo-Commit": sha, "ETag": f'"{entry.etag}"', "Accept-Ranges": "bytes"}
    if entry.sha256 is None:
        content = hub.store.contents[entry.oid]
        response = ranged(content, request)
        return Response(response.status, response.body, response.headers | headers)
    headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"'}
    return Response(302, headers=headers | _place(hub, repo, sha, entry.sha256, entry.xet))


def _place(hub: Hub, repo: Repo, sha: str, sha256: str, xet: str | None) -> dict[str, str]:
    if xet is None:
        return {"Location": f"{hub.storage}/storage/{sha256}"}
    return {
        "Location": f"{hub.storage}/only-over-xet/{sha256}",
        "X-Xet-Hash": xet,
        "X-Xet-Refresh-Route": f"{hub.url}/api/models/{repo.id}/xet-read-token/{sha}",
    }
