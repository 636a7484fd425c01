"""The real client as a user runs it: a process of its own, since it reads its settings when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hub.server import Hub

REPOSITORY = Path(__file__).parents[2]
TOKEN = "hf_write_PbXkqzvTnOwLrYd"  # none of these was ever anybody's
READ_TOKEN = "hf_read_JmWuVcEaSiGhKf"
OTHER_TOKEN = "hf_other_QxZyNtBoRlDpMe"
WRONG_TOKEN = "hf_wrong_UaIsFjHkCgTvXw"

# Else hf_xet goes on trying for minutes.
IMPATIENT = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2", "HF_XET_CLIENT_RETRY_BASE_DELAY": "100ms"}


@dataclass(frozen=True)
class Machine:
    """A user's machine: the Hub it talks to, an empty home, the transfer that it uses.

    Attributes:
        url: Of the Hub.
        home: For the client's caches; nobody is logged in there.
        xet: Whether large files go over Xet, else over Git LFS.
        token: What HF_TOKEN holds; None for nothing.
    """

    url: str
    home: Path
    xet: bool = True
    token: str | None = TOKEN

    def environment(self, **extra: str) -> dict[str, str]:
        """Of a process on it; nothing of this machine's own settings of the Hub's client."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        settings = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "0" if self.xet else "1",
            "PYTHONPATH": str(REPOSITORY),
            **({} if self.token is None else {"HF_TOKEN": self.token}),
        }
        return inherited | settings | IMPATIENT | extra

    def push(self, folder: Path, repo_id: str, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Runs push-to-hub."""
        return self.run("-m", "byteformer_convert", "push-to-hub", str(folder), repo_id, *options, **extra)

    def run(self, *arguments: str, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        """Runs Python."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            cwd=cwd or self.home,
            timeout=300,
        )


def everything(hub: Hub, *results: subprocess.CompletedProcess[str]) -> str:
    """All that was said, to look for a token in."""
    return "".join(result.stdout + result.stderr for result in results) + "".join(hub.leaks)
