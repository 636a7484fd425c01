"""What the loopback Hub remembers: users, repositories, commits, contents. No HTTP here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class User:
    """Whom a token belongs to, and whether it may write."""

    name: str
    role: str = "write"


@dataclass(frozen=True)
class Entry:
    """One file of a commit; `sha256` is None for a regular file, `xet` is None for one that came over LFS."""

    path: str
    size: int
    oid: str
    sha256: str | None = None
    xet: str | None = None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid

    def row(self) -> dict[str, object]:
        """As the tree route shows it."""
        row: dict[str, object] = {"type": "file", "path": self.path, "size": self.size, "oid": self.oid}
        if self.sha256 is not None:
            row["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 130}
        if self.xet is not None:
            row["xetHash"] = self.xet
        return row


Tree = dict[str, Entry]


@dataclass
class Repo:
    """A repository: every commit's tree, and where the branches and pull requests point."""

    id: str
    private: bool
    commits: dict[str, Tree] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pulls: list[dict[str, object]] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, ref: str, tree: Tree, message: str, description: str = "") -> str:
        """A new commit on a branch; its name."""
        content = json.dumps([message, len(self.commits), sorted(map(str, tree.values()))])
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = tree
        self.refs[ref] = sha
        self.messages.append((message, description))
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a pull request's ref or a commit's name means."""
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass
class Store:
    """Everything. `contents` holds regular files by git's sha1, and LFS objects by sha256."""

    tokens: dict[str, User]
    repos: dict[str, Repo] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    xorbs: dict[str, bytes] = field(default_factory=dict)
    xet_files: dict[str, list[tuple[str, int, int, int]]] = field(default_factory=dict)
    xet_of_sha256: dict[str, str] = field(default_factory=dict)

    def create(self, repo_id: str, *, private: bool = False) -> Repo:
        """A repository with the one file that the real Hub puts there."""
        repo = self.repos[repo_id] = Repo(repo_id, private)
        repo.commit("main", {".gitattributes": self.regular(".gitattributes", GITATTRIBUTES)}, "initial commit")
        return repo

    def regular(self, path: str, content: bytes) -> Entry:
        """Keeps a regular file's content."""
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        self.contents[oid] = content
        return Entry(path, len(content), oid)

    def large(self, path: str, sha256: str, size: int) -> Entry | None:
        """A file whose content came over LFS or Xet; None where it never arrived."""
        xet = self.xet_of_sha256.get(sha256)
        if xet is None and sha256 not in self.contents:
            return None
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
        return Entry(path, size, oid, sha256, xet)
