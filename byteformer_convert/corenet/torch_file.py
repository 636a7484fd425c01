"""Opens a file that torch.save wrote without running what it asks for, or says what the file is instead."""

from __future__ import annotations

import io
import re
import struct
import sys
import tarfile
import warnings
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, Literal

import torch

from byteformer_convert.corenet.pickle_scan import MAX_BYTES, BadPickle, OtherProtocol, Scan, scan
from byteformer_convert.corenet.tensor_checks import names_list
from byteformer_convert.corenet.torch_zip import DOWNLOAD_AGAIN, TorchZip, read_zip
from byteformer_convert.errors import CheckpointError

Container = Literal["zip", "legacy", "safetensors"]

_LEGACY_MAGIC: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number as a protocol 2 pickle
_LEGACY_PICKLES: Final = 5  # the magic number, a version, the byte order, what was saved, the storages' keys
_SAVE_PLAIN: Final = (
    "Ask for the state dict alone: whoever trained the model saves it with torch.save(model.state_dict(), 'out.pt')."
)
# What torch may load, and which warnings are shown, is the whole process's: of two threads, the one that is done first
# would take back what the other still needs.
_ALONE: Final = Lock()


def identify(path: Path) -> Container:
    """Which of the three formats a file has, by its first bytes.

    Raises:
        CheckpointError: No such file, not readable, empty, cut off, or something else; the message says what.
    """
    start = _read_start(path)
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start.startswith(_LEGACY_MAGIC):
        return "legacy"
    if _is_safetensors(start):
        return "safetensors"
    raise CheckpointError(_what_it_is(start), where=path.name, hint=_hint_for(start))


def load_torch_file(path: Path, container: Container) -> Any:
    """What torch.save put into the file. Tensors of a zip file stay on disk until they are read (mmap).

    Raises:
        CheckpointError: The file asks for anything but tensors, containers and numbers, is damaged, or would take
            memory or time out of all proportion to its size.
    """
    found = read_zip(path) if container == "zip" else None
    try:
        with path.open("rb") as file:
            _check_pickles(path, file, found)
            # torch maps a zip file's records as they lie in it; a repacked, compressed one must be read the long way.
            mapped = found is not None and not found.packed and _is_plain(path) and _is_native(file)
            with _ALONE, torch.serialization.safe_globals(_NUMPY_SCALARS), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on pickle protocols, before the error that says it all
                return torch.load(path if mapped else file, weights_only=True, map_location="cpu", mmap=mapped)
    except CheckpointError:
        raise
    except Exception as err:  # bytes from anywhere: whatever torch trips over means that the file cannot be used
        raise _load_error(path, err) from err


def _is_plain(path: Path) -> bool:
    """Whether torch maps a file of this name: it takes one for UTF-8, and .safetensors for that format."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return path.suffix != ".safetensors"


def _is_native(file: BinaryIO) -> bool:
    """Whether a zip file's numbers have this machine's byte order. torch swaps others where they lie.

    In a file that is mapped the swapped ones would be lost with their pages, which are given back.
    """
    reader = torch._C.PyTorchFileReader(file)
    said = reader.has_record("byteorder")  # type: ignore[attr-defined]
    native = not said or reader.get_record("byteorder") == sys.byteorder.encode()
    file.seek(0)
    return native


def _check_pickles(path: Path, file: BinaryIO, found: TorchZip | None) -> None:
    """Goes through the pickles, and compares the storages that they take tensors from with what the file holds."""
    try:
        claims = _legacy_claims(path, file) if found is None else _zip_claims(path, file, found)
    except OtherProtocol as err:
        raise CheckpointError(
            f"this file was saved with a pickle protocol that torch's safe reader does not know (it {err}); "
            "torch.save's own is 2.",
            where=path.name,
            hint=_SAVE_PLAIN,
        ) from err
    except BadPickle as err:
        cut_off = any(word in str(err) for word in ("exhausted", "remain", "not enough", "no newline"))
        what = "this file is cut off or damaged" if cut_off else "this file is damaged, or was made to do harm"
        raise CheckpointError(f"{what}: its pickle {err}.", where=path.name, hint=DOWNLOAD_AGAIN) from err
    finally:
        file.seek(0)
    if claims:
        raise CheckpointError(
            "this file is cut off or damaged: its tensors take more bytes than it holds from storage "
            f"{names_list(claims)}.",
            where=path.name,
            hint=DOWNLOAD_AGAIN,
        )


def _zip_claims(path: Path, file: BinaryIO, found: TorchZip) -> list[str]:
    """Keys of storages that are taken to be longer than they are."""
    if found.sizes["data.pkl"] > MAX_BYTES:
        raise BadPickle(f"has {found.sizes['data.pkl']:,} bytes, and a checkpoint's has a few thousand")
    reader = torch._C.PyTorchFileReader(file)  # what torch.load asks, so that both see the same pickle
    result = _asked_nothing(path, scan(io.BytesIO(reader.get_record("data.pkl"))))
    sizes = dict(found.sizes)
    if found.packed:  # not every torch compares what was unpacked with what the pickle takes it to be
        sizes = {f"data/{key}": len(reader.get_record(f"data/{key}")) for key in result.claims}
    return [key for key, claimed in result.claims.items() if claimed > sizes.get(f"data/{key}", 0)]


def _legacy_claims(path: Path, file: BinaryIO) -> list[str]:
    """Keys of storages, if all together are taken to be longer than the file. torch makes room before it reads."""
    start = file.read(2 * MAX_BYTES)
    if _is_tar(start):
        raise BadPickle("poses as a tar archive as well")
    stream = io.BytesIO(start)
    results = [_asked_nothing(path, scan(stream)) for _ in range(_LEGACY_PICKLES)]
    claims = {key: claimed for result in results for key, claimed in result.claims.items()}
    return sorted(claims) if sum(claims.values()) > path.stat().st_size else []


def _is_tar(start: bytes) -> bool:
    """torch tries tar, its oldest format, first, whatever the file begins with."""
    try:
        tarfile.TarInfo.frombuf(start[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _asked_nothing(path: Path, result: Scan) -> Scan:
    if result.asked:
        raise _unsafe_error(path, list(result.asked))
    return result


def _read_start(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CheckpointError(
                "this is a pipe or a device, and a checkpoint is read more than once.", where=path.name
            )
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError as err:
        raise CheckpointError("there is no such file.", where=path.name, hint=f"Looked for {path}.") from err
    except OSError as err:
        raise CheckpointError(f"this file cannot be read: {err.strerror}.", where=path.name) from err
    if not start:
        raise CheckpointError("this file is empty (0 bytes).", where=path.name, hint=DOWNLOAD_AGAIN)
    return start


def _is_safetensors(start: bytes) -> bool:
    """Eight bytes of header length, then a JSON object. The longest header that safetensors reads is 100 MB."""
    return len(start) > 8 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= 100_000_000


def _what_it_is(start: bytes) -> str:
    text = start.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, a few lines of text that stand for the file, not the file itself."
    if text.startswith((b"<!doctype html", b"<html")):
        return "this is a web page (HTML), not a checkpoint."
    if text.startswith(b"<?xml"):
        return "this is XML, perhaps a server's error message, not a checkpoint."
    if _LEGACY_MAGIC.startswith(start):
        return f"this file is cut off after {len(start)} bytes."
    if start[:1] == b"\x80":
        return "this is a Python pickle, but not one that torch.save wrote."
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")):
        return "this file is compressed; unpack it first."
    if _is_text(start):
        return "this is a text file, not a checkpoint."
    return "this is not a checkpoint: it begins neither like a file of torch.save nor like safetensors."


def _hint_for(start: bytes) -> str:
    if _LEGACY_MAGIC.startswith(start):
        return DOWNLOAD_AGAIN
    if start.startswith(b"version https://git-lfs"):
        return "Fetch the file itself: git lfs pull."
    if start.lstrip().startswith(b"<"):
        return "The download went wrong; open the address in a browser to see what it answers."
    return "A CoreNet checkpoint is a .pt file, or a folder with config.json and model.safetensors."


def _is_text(start: bytes) -> bool:
    try:
        text = start[:-3].decode() if len(start) == 4096 else start.decode()
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\r\n\t" for char in text)


def _load_error(path: Path, err: Exception) -> CheckpointError:
    """torch's error in one sentence that says what to do."""
    message = str(err)
    if isinstance(err, MemoryError) or "allocate memory" in message:
        return CheckpointError("there is not enough memory to read this file.", where=path.name)
    if asked := re.findall(r"(?:Unsupported global: GLOBAL|unsupported GLOBAL) (\S+)", message):
        return _unsafe_error(path, asked[:1])
    if isinstance(err, EOFError) or "unexpected EOF" in message:
        return CheckpointError("this file is cut off.", where=path.name, hint=DOWNLOAD_AGAIN)
    detail = message.strip().rstrip(".").splitlines()[-1:] or [type(err).__name__]
    return CheckpointError(
        f"this file is damaged, torch cannot read it: {detail[0]:.300}.", where=path.name, hint=DOWNLOAD_AGAIN
    )


def _unsafe_error(path: Path, asked: list[str]) -> CheckpointError:
    names = ", ".join(asked[:5]) + (f" and {len(asked) - 5} more" if len(asked) > 5 else "")
    whole = any(name.startswith("torch.nn.modules.") for name in asked)
    what = "this is a whole pickled model, not its state dict" if whole else "this file holds more than tensors"
    return CheckpointError(
        f"{what}: reading it would import {names}. A file that chooses what is imported can run any code, "
        "so it is refused.",
        where=path.name,
        hint=_SAVE_PLAIN,
    )


class _NumpyType:
    """Stands in for numpy.dtype while a numpy scalar is read, so that no pickle reaches numpy itself."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.code = code
        self.byte_order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = ">" if state[1] == ">" else "<"


_STRUCT_CODES: Final = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?",
}  # fmt: skip


def _numpy_scalar(kind: _NumpyType, raw: bytes) -> float | int | bool | None:
    """The number in a pickled numpy scalar; None for the kinds that are no plain number."""
    code = _STRUCT_CODES.get(kind.code)
    if code is None:
        return None
    value: float | int | bool = struct.unpack(kind.byte_order + code, raw)[0]
    return value


# A training checkpoint's best_metric is often a numpy scalar. numpy 1 and 2 name the function differently.
_NUMPY_SCALARS: Final[list[Any]] = [
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    (_NumpyType, "numpy.dtype"),
]
