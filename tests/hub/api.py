"""The Hub's own routes: users, repositories, branches, commits, pull requests."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from tests.hub.server import Hub, Request, Response, answer, refuse, route

if TYPE_CHECKING:
    from tests.hub.store import Repo, Tree

ID = r"(?P<id>[^/]+/[^/]+)"
LARGE = 10_000_000  # above it, a file is never a regular one


def readable(hub: Hub, request: Request) -> Repo | Response:
    """The repository, or what the Hub says to somebody who may not see it."""
    repo = hub.store.repos.get(request.groups["id"])
    owner = request.groups["id"].split("/")[0]
    if repo is None or (repo.private and (request.user is None or request.user.name != owner)):
        return refuse(401 if request.user is None else 404, "Repository not found", "RepoNotFound")
    return repo


def may_write(request: Request, owner: str) -> Response | None:
    """None where the token may write to this owner's repositories, else the refusal."""
    if request.user is None:
        return refuse(401, "Invalid username or password.")
    if request.user.role == "read" or request.user.name != owner:
        return refuse(403, f"You don't have the rights to write to {owner}'s repositories")
    return None


def writable(hub: Hub, request: Request) -> Repo | Response:
    repo = readable(hub, request)
    if isinstance(repo, Response):
        return repo
    # Anybody who may read may open a pull request.
    proposes = request.query.get("create_pr") == "1" or request.groups.get("rev", "").startswith("refs/pr/")
    if request.user is not None and request.user.role == "write" and proposes:
        return repo
    return may_write(request, repo.id.split("/")[0]) or repo


@route("GET", "/api/whoami-v2")
def whoami(hub: Hub, request: Request) -> Response:
    if request.user is None:
        return refuse(401, "Invalid username or password.")
    return answer({"name": request.user.name, "orgs": [], "auth": {"accessToken": {"role": request.user.role}}})


@route("POST", "/api/repos/create")
def create(hub: Hub, request: Request) -> Response:
    owner = request.json["organization"] or (request.user.name if request.user else "")
    repo_id = f"{owner}/{request.json['name']}"
    if refusal := may_write(request, owner):
        return refusal
    if repo_id in hub.store.repos:
        return answer({"error": "You already created this model repo", "url": f"{hub.url}/{repo_id}"}, 409)
    hub.store.create(repo_id, private=request.json.get("visibility") == "private")
    return answer({"url": f"{hub.url}/{repo_id}"})


@route("POST", "/api/validate-yaml")
def validate_yaml(hub: Hub, request: Request) -> Response:
    has_metadata = request.json["content"].startswith("---\n")
    warnings = [] if has_metadata else [{"message": "empty or missing yaml metadata in repo card"}]
    return answer({"errors": [], "warnings": warnings})


@route("GET", f"/api/models/{ID}(/revision/(?P<rev>.+))?")
def model_info(hub: Hub, request: Request) -> Response:
    repo = readable(hub, request)
    if isinstance(repo, Response):
        return repo
    sha = repo.resolve(request.groups["rev"] or "main")
    if sha is None:
        return refuse(404, "Invalid rev id", "RevisionNotFound")
    files = [{"rfilename": path} for path in repo.commits[sha]]
    return answer({"id": repo.id, "sha": sha, "private": repo.private, "siblings": files, "tags": []})


@route("GET", f"/api/models/{ID}/tree/(?P<rev>.+)")
def tree(hub: Hub, request: Request) -> Response:
    repo = readable(hub, request)
    if isinstance(repo, Response):
        return repo
    sha = repo.resolve(request.groups["rev"])
    if sha is None:
        return refuse(404, "Invalid rev id", "RevisionNotFound")
    return answer([entry.row() for entry in repo.commits[sha].values()])


@route("POST", f"/api/models/{ID}/branch/(?P<branch>.+)")
def create_branch(hub: Hub, request: Request) -> Response:
    repo = writable(hub, request)
    if isinstance(repo, Response):
        return repo
    if request.groups["branch"] in repo.refs:
        return refuse(409, "Reference already exists")
    repo.refs[request.groups["branch"]] = repo.refs["main"]
    return answer({})


@route("POST", f"/api/models/{ID}/preupload/(?P<rev>.+)")
def preupload(hub: Hub, request: Request) -> Response:
    """Tells the client which files are large, and what is there already."""
    repo = writable(hub, request)
    if isinstance(repo, Response):
        return repo
    sha = repo.resolve(request.groups["rev"])
    if sha is None:
        return refuse(404, "Invalid rev id", "RevisionNotFound")
    there = repo.commits[sha]
    return answer({"files": [_mode(file["path"], file["size"], there) for file in request.json["files"]]})


def _mode(path: str, size: int, there: Tree) -> dict[str, object]:
    large = path.endswith(".safetensors") or size > LARGE
    oid = there[path].etag if path in there else None
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


@route("POST", f"/api/models/{ID}/commit/(?P<rev>.+)")
def commit(hub: Hub, request: Request) -> Response:
    repo = writable(hub, request)
    if isinstance(repo, Response):
        return repo
    ref, links = request.groups["rev"], {}
    parent = repo.resolve(ref)
    if parent is None:
        return refuse(404, "Invalid rev id", "RevisionNotFound")
    lines = [json.loads(line) for line in request.body.splitlines()]
    files = dict(repo.commits[parent])
    for line in lines[1:]:
        if missing := _apply(hub, files, line["key"], line["value"]):
            return refuse(400, f"the content of {missing} never arrived")
    if request.query.get("create_pr") == "1":
        ref = _open_pull_request(repo, lines[0]["value"]["summary"])
        links = {"pullRequestUrl": f"{hub.url}/{repo.id}/discussions/{len(repo.pulls)}"}
    sha = repo.commit(ref, files, lines[0]["value"]["summary"], lines[0]["value"]["description"])
    return answer({"commitUrl": f"{hub.url}/{repo.id}/commit/{sha}", "commitOid": sha, **links})


def _apply(hub: Hub, files: Tree, operation: str, value: dict[str, object]) -> str | None:
    """One line of a commit; the path of a large file whose content is not here."""
    path = str(value["path"])
    if operation == "file":
        files[path] = hub.store.regular(path, base64.b64decode(str(value["content"])))
    elif operation == "lfsFile":
        entry = hub.store.large(path, str(value["oid"]), int(str(value["size"])))
        if entry is None:
            return path
        files[path] = entry
    elif operation == "deletedFile":
        del files[path]
    return None


def _open_pull_request(repo: Repo, title: str) -> str:
    repo.pulls.append({"title": title})
    ref = f"refs/pr/{len(repo.pulls)}"
    repo.refs[ref] = repo.refs["main"]
    return ref


@route("POST", f"/api/models/{ID}/discussions")
def open_discussion(hub: Hub, request: Request) -> Response:
    repo = readable(hub, request)
    if isinstance(repo, Response):
        return repo
    if request.user is None or request.user.role != "write":
        return refuse(403, "You need a token that may write")
    _open_pull_request(repo, request.json["title"])
    return answer({"num": len(repo.pulls)})


@route("GET", f"/api/models/{ID}/discussions/(?P<number>[0-9]+)")
def discussion(hub: Hub, request: Request) -> Response:
    repo = readable(hub, request)
    if isinstance(repo, Response):
        return repo
    number = int(request.groups["number"])
    about = {
        "title": repo.pulls[number - 1]["title"],
        "num": number,
        "author": {"name": request.user.name if request.user else "somebody"},
        "createdAt": "2026-01-01T00:00:00.000Z",
        "status": "draft",
        "repo": {"name": repo.id, "type": "model"},
        "isPullRequest": True,
    }
    return answer(about | {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "events": [], "diff": ""})
