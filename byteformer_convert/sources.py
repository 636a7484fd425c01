"""What a conversion reads: files that somebody gave, or a published checkpoint that is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from byteformer_convert.corenet.published import published
from byteformer_convert.errors import CheckpointError, UsageError
from byteformer_convert.output.folder import file_record
from byteformer_convert.output.staging import check_target

if TYPE_CHECKING:
    from byteformer_convert.corenet.download import Progress
    from byteformer_convert.corenet.published import PublishedCheckpoint


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
        CheckpointError: The file that was given is not the published one.
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
        return Sources(weights, entry.config, entry.name, _looked_at(entry, weights))
    from byteformer_convert.corenet.published_files import fetch

    check_target(output, force=force)
    file = fetch(entry, cache_dir, progress)
    how = "from the cache" if file.reused else f"from {file.url}"
    known = "as expected" if entry.sha256 is not None else "which nobody has recorded yet: compare it with others'"
    return Sources(file.path, entry.config, entry.name, (f"{entry.file} came {how}, sha256 {file.sha256}, {known}.",))


def _looked_at(entry: PublishedCheckpoint, weights: Path) -> tuple[str, ...]:
    """Compares a given file with what is known of the published one; says so where nothing is."""
    if entry.sha256 is None:
        return (
            f"{weights.name} is taken for {entry.file} because you say so: nobody has recorded that file's sha256 yet.",
        )
    if weights.is_file() and (found := file_record(weights).sha256) != entry.sha256:
        raise CheckpointError(
            f"this is not the published {entry.file}: its sha256 is {found}, not {entry.sha256}.",
            where=weights.name,
            hint="Leave --published out and give --config, if these are weights of your own.",
        )
    return ()
