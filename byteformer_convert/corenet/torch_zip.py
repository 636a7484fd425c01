"""torch's zip files: what is in one, whether it is whole, and how large it becomes when it is read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from byteformer_convert.errors import CheckpointError

DOWNLOAD_AGAIN: Final = "Download or copy it again, and compare its size with the original's."
# Trained weights do not compress, and torch packs nothing. Zeros of an optimizer's state may.
MAX_GROWTH: Final = 20
MAX_SMALL: Final = 1 << 26  # bytes that any file may grow to
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class TorchZip:
    """What the zip file's own directory says.

    Attributes:
        packed: Whether a member is compressed; torch.save compresses nothing.
        sizes: Bytes of each member, by its name without the folder that torch puts all of them in.
    """

    packed: bool
    sizes: Mapping[str, int]


def read_zip(path: Path) -> TorchZip:
    """Looks at a zip file of torch, and at the checksum of all that is in it.

    Raises:
        CheckpointError: Cut off or damaged, no file of torch.save, a name twice, or far larger inside than outside.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            found = _checked(entries, path)
            if (name := _damaged(archive, entries)) is not None:
                raise CheckpointError(
                    f"this file is damaged: the checksum of {name} in it does not hold.",
                    where=path.name,
                    hint=DOWNLOAD_AGAIN,
                )
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error) as err:
        raise CheckpointError(
            f"this file is cut off or damaged: it begins as a zip file of torch and has no valid end ({err}).",
            where=path.name,
            hint=DOWNLOAD_AGAIN,
        ) from err
    return found


def _checked(entries: Sequence[zipfile.ZipInfo], path: Path) -> TorchZip:
    sizes = {entry.filename.partition("/")[2]: entry.file_size for entry in entries}
    if "constants.pkl" in sizes:
        raise CheckpointError(
            "this is a TorchScript archive (torch.jit.save), not a state dict.",
            where=path.name,
            hint="Save the weights alone: torch.save(torch.jit.load('in.pt').state_dict(), 'out.pt').",
        )
    if "data.pkl" not in sizes:
        raise CheckpointError(
            "this is a zip file, but not one that torch.save wrote (it holds no data.pkl).", where=path.name
        )
    # torch looks names up without regard to case, and of equal names others may take another one than torch does.
    if len({entry.filename.lower() for entry in entries}) < len(entries):
        raise CheckpointError(
            "this zip file holds two members of one name, which torch.save never writes.", where=path.name
        )
    grown, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if grown > max(MAX_GROWTH * size, MAX_SMALL):
        raise CheckpointError(
            f"this zip file of {size:,} bytes would become {grown:,} bytes when it is read; weights do not.",
            where=path.name,
            hint=DOWNLOAD_AGAIN,
        )
    return TorchZip(any(entry.compress_type != zipfile.ZIP_STORED for entry in entries), sizes)


def _damaged(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> str | None:
    """The first member whose checksum does not hold. torch itself compares none, and may write 0 for all of them."""
    for entry in entries:
        with archive.open(entry) as member:
            try:
                while member.read(_BLOCK):
                    pass
            except zipfile.BadZipFile:
                if entry.CRC:
                    return entry.filename
    return None
