"""Published checkpoints on this machine: where they are kept, and how they get there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from byteformer_convert.corenet.download import Progress, Whole, download
from byteformer_convert.corenet.published import BASE_URL, PublishedCheckpoint

BASE_URL_VARIABLE: Final = "BYTEFORMER_CONVERT_BASE_URL"
"""Environment variable: another server that holds the same files, a mirror or one for tests."""


def cache_folder() -> Path:
    """Where the operating system keeps a user's caches: `XDG_CACHE_HOME` or `~/.cache` on Linux."""
    import platformdirs

    return platformdirs.user_cache_path("byteformer-convert", appauthor=False)


def fetch(
    entry: PublishedCheckpoint, cache_dir: Path | None = None, progress: Progress = lambda done, total: None
) -> Whole:
    """The checkpoint's file, from the cache or from the network.

    Args:
        entry: Which.
        cache_dir: Where files are kept; None for the usual place.
        progress: Is told how far a download got.

    Raises:
        DownloadError: It cannot be fetched, or what came is not it.
        OutputError: The cache cannot be written.
    """
    target = (cache_dir or cache_folder()) / entry.file
    return download(address(entry), target, size=entry.size, sha256=entry.sha256, progress=progress)


def address(entry: PublishedCheckpoint) -> str:
    """Where the file is fetched from."""
    base = os.environ.get(BASE_URL_VARIABLE) or BASE_URL
    return f"{base.rstrip('/')}/{entry.file}"
