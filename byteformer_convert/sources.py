"""What a conversion reads: files that somebody gave, or a published checkpoint that is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from byteformer_convert.corenet.published import published
from byteformer_convert.errors import UsageError
from byteformer_convert.output.staging import check_target

if TYPE_CHECKING:
    from byteformer_convert.corenet.download import Progress


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the inputs are.

    Attributes:
        weights: A checkpoint file, or a folder that CoreNet's Hugging Face adapter saved.
        config: CoreNet's YAML; None for such a folder.
        published: Name of the published checkpoint that it is, else None.
        notes: Sentences that a person should read.
    """

    weights: Path
    config: Path | None
    published: str | None = None
    notes: tuple[str, ...] = ()


def find_sources(
    weights: Path | None,
    config: Path | None,
    name: str | None,
    *,
    output: Path,
    force: bool = False,
    cache_dir: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Sources:
    """The inputs of a conversion, fetched where they have to be.

    Args:
        weights: What somebody gave; with `name`, its file, so that nothing is fetched.
        config: What somebody gave.
        name: Of a published checkpoint.
        output: Where the folder is to be: looked at first, for a download takes time.
        force: Whether a folder there may be replaced.
        cache_dir: Where downloads are kept; None for the usual place.
        progress: Is told how far a download got.

    Raises:
        UsageError: Too little or too much was given, or there is no such published checkpoint.
        OutputError: The folder is there already, or the download cannot be written.
        DownloadError: It cannot be fetched.
    """
    if name is None:
        if weights is None:
            raise UsageError("--weights is missing.", hint="Give CoreNet's .pt, or --published NAME.")
        return Sources(weights, config)
    if config is not None:
        raise UsageError(
            "--config and --published exclude each other: a published checkpoint has its YAML.",
            hint="Leave --config out, and change single keys with --override KEY=VALUE.",
        )
    entry = published(name)
    if weights is not None:
        return Sources(weights, entry.config, entry.name)
    from byteformer_convert.corenet.published_files import fetch

    check_target(output, force=force)
    file = fetch(entry, cache_dir, progress)
    how = "from the cache" if file.reused else f"from {file.url}"
    known = "as expected" if entry.sha256 is not None else "which nobody has recorded yet: compare it with others'"
    return Sources(file.path, entry.config, entry.name, (f"{entry.file} came {how}, sha256 {file.sha256}, {known}.",))
