"""Checkpoints made to do harm, by name. Each would run `touch ran` in the working folder, if it ran anything."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from tests.hostile.checkpoint_targets import saved
from tests.hostile.zip_mutator import Members, pack, read_members

COMMAND = "touch ran"
STATIC = torch.ones(1)
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ"
LEGACY_START = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
)


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def zip_with(
    pickled: bytes, data: bytes = bytes(16), name: str = "x", extra: Members | None = None, how: int = 0
) -> bytes:
    """A torch zip with this pickle and one storage."""
    members = [(f"{name}/data.pkl", pickled, how), (f"{name}/data/0", data, how), (f"{name}/version", b"3\n", how)]
    return pack([*members, *(extra or [])])


def called(module: str, name: str, arguments: bytes) -> bytes:
    """{"a": module.name(*arguments)}, the arguments as instructions that leave a tuple."""
    return b"\x80\x02}X\x01\x00\x00\x00ac" + f"{module}\n{name}\n".encode() + arguments + b"Rs."


def text(value: str) -> bytes:
    """The instruction that puts a text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def tensor(shape: bytes, stride: bytes, count: bytes = b"K\x04", offset: bytes = b"K\x00") -> bytes:
    """A state dict of one tensor over storage 0, which holds 4 values."""
    arguments = b"(" + STORAGE % count + offset + shape + stride + b"\x89ccollections\nOrderedDict\n)Rt"
    return called("torch._utils", "_rebuild_tensor_v2", arguments)


def long_text(count: int) -> bytes:
    """The instruction for a number of 8 bytes."""
    return b"\x8a\x08" + struct.pack("<q", count)


def bomb(levels: int) -> bytes:
    """Instructions that leave a tuple of 2 ** levels values, each level twice the one before."""
    return b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(levels))


def code_runners() -> Iterator[tuple[str, bytes]]:
    """Everything that a plain unpickler would run."""
    import functools
    import os
    import subprocess

    calls = {
        "os.system": Calls(os.system, COMMAND),
        "eval": Calls(eval, f"__import__('os').system({COMMAND!r})"),
        "exec": Calls(exec, f"import os; os.system({COMMAND!r})"),
        "popen": Calls(subprocess.Popen, COMMAND.split()),
        "torch.load": Calls(torch.load, "x.pt"),
        "partial": Calls(functools.partial, os.system, COMMAND),
        "getattr": Calls(getattr, os.path.join, "__globals__"),
        "import": Calls(__import__, "antigravity"),
        "open": Calls(open, "ran", "w"),
    }
    for name, call in calls.items():
        for protocol in range(6):
            yield f"{name} protocol {protocol}", zip_with(pickle.dumps({"a": call}, protocol))
        yield f"{name} legacy", saved({"a": call}, zipped=False)
        yield f"{name} as a key", zip_with(b"\x80\x02}" + pickle.dumps(call, 2)[2:-1] + b"K\x01s.")
    yield "instance", zip_with(b"(S'touch ran'\nios\nsystem\n.")
    yield "python 2 name", zip_with(called("__builtin__", "eval", b"(" + text("1") + b"t"))
    yield "stack global", zip_with(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.")
    yield "extension", zip_with(b"\x80\x02\x82\x01.")
    yield (
        "patch file",
        zip_with(b"\x80\x02(" + text("module") + b"ctorch.nn.modules.linear\nLinear\n" + text("a") * 2 + b"tQ."),
    )


def memory_bombs() -> Iterator[tuple[str, bytes]]:
    """A few bytes that ask for gigabytes."""
    for name, count in (("10 GB", 10 << 30), ("1 EB", 1 << 60)):
        number = long_text(count)
        yield f"bytearray {name}", zip_with(called("builtins", "bytearray", number + b"\x85"))
        yield f"tensor {name}", zip_with(called("torch", "Tensor", number + b"\x85"))
        yield f"new tensor {name}", zip_with(b"\x80\x02ctorch\nTensor\n" + number + b"\x85\x81.")
        yield f"storage {name}", zip_with(tensor(b"K\x04\x85", b"K\x01\x85", count=number))
        yield f"storage packed {name}", zip_with(tensor(b"K\x04\x85", b"K\x01\x85", count=number), how=8)
        yield f"shape {name}", zip_with(tensor(number + b"\x85", b"K\x01\x85"))
        yield f"expanded {name}", zip_with(tensor(number + b"\x85", b"K\x00\x85"))
        legacy = tensor(b"K\x04\x85", b"K\x01\x85", count=number).replace(b"tQ", b"NtQ")
        yield f"legacy storage {name}", LEGACY_START + legacy + pickle.dumps(["0"], 2) + bytes(24)
    yield "text length", zip_with(b"\x80\x02X\xff\xff\xff\xffa.")
    yield "text length legacy", LEGACY_START + b"\x80\x02X\xff\xff\xff\xffa."
    yield "text length 8", zip_with(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.")
    yield "text length 8 legacy", LEGACY_START + b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa."
    yield "number length", zip_with(b"\x80\x02\x8b\xff\xff\xff\x7fa.")
    yield "number length legacy", LEGACY_START + b"\x80\x02\x8b\xff\xff\xff\x7fa."
    yield "memo index", zip_with(b"\x80\x02}r\xff\xff\xff\xff.")
    yield "tar length legacy", _tar_and_legacy()
    yield (
        "packed zeros",
        zip_with(tensor(b"K\x04\x85", b"K\x01\x85", count=b"J\x00\x00\x00\x02"), data=bytes(1 << 27), how=8),
    )
    yield "claimed size", _with_sizes(zip_with(tensor(b"K\x04\x85", b"K\x01\x85"), how=8), 0x7FFFFFFF)
    yield "claimed size stored", _with_sizes(zip_with(tensor(b"K\x04\x85", b"K\x01\x85")), 0x7FFFFFFF)


def time_bombs() -> Iterator[tuple[str, bytes]]:
    """A few bytes that keep a reader busy for ever, or overflow its stack."""
    yield "key that is hashed for ever", zip_with(b"\x80\x02}" + bomb(45) + b"K\x01s.")
    yield "value of many values", zip_with(b"\x80\x02}K\x01" + bomb(45) + b"s.")
    yield "dtype that is hashed for ever", zip_with(called("numpy", "dtype", bomb(45) + b"\x85"))
    yield "layout hashed for ever", zip_with(called("torch.serialization", "_get_layout", bomb(45) + b"\x85"))
    yield "set hashed for ever", zip_with(called("builtins", "set", b"]" + bomb(45) + b"a\x85"))
    yield "counter", zip_with(called("collections", "Counter", b"]" + bomb(45) + b"a\x85"))
    yield "ordered dict", zip_with(called("collections", "OrderedDict", b"]" + bomb(45) + b"K\x01\x86a\x85"))
    yield "legacy key hashed for ever", LEGACY_START + b"\x80\x02}." + b"\x80\x02]" + bomb(45) + b"a."
    yield "deep key", zip_with(b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s.")
    yield "deep lists", zip_with(b"\x80\x02" + b"]" * 500_000 + b"a" * 499_999 + b".")
    yield "deep dicts", zip_with(b"\x80\x02" + b"}K\x01" * 300_000 + b"K\x01" + b"s" * 300_000 + b".")
    yield "deep tensors", zip_with(b"\x80\x02)" + b"\x85" * 100_000 + b"ctorch\nSize\n" + b".")
    yield "holds itself", zip_with(b"\x80\x02}q\x00K\x01h\x00s.")
    yield "list holds itself", zip_with(b"\x80\x02]q\x00h\x00ah\x00a.")
    yield "slow encoding", zip_with(called("_codecs", "encode", text("ü" * 500_000) + text("punycode") + b"\x86"))
    keys = b"".join(b"\x8a\x0e" + (i * ((1 << 61) - 1)).to_bytes(14, "little") + b"N" for i in range(1, 60_000))
    yield "keys that hash alike", zip_with(b"\x80\x02}(" + keys + b"u.")
    yield "many instructions", zip_with(b"\x80\x02]" + b"Na" * 1_000_001 + b".")
    yield "long pickle", zip_with(b"\x80\x02" + b"N0" * (9 << 20) + b"N.")
    yield "many marks", zip_with(b"\x80\x02" + b"(" * 900_000 + b"t" * 900_000 + b".")
    yield "many tensors", saved({f"k{i}": STATIC for i in range(90_000)})
    yield "many tensors legacy", saved({f"k{i}": STATIC for i in range(90_000)}, zipped=False)
    yield "many axes", zip_with(tensor(b"(" + b"K\x01" * 100_000 + b"t", b"(" + b"K\x01" * 100_000 + b"t"))


def false_tensors() -> Iterator[tuple[str, bytes]]:
    """Tensors that are not what their storage holds."""
    one = b"K\x04\x85", b"K\x01\x85"
    yield "storage too short", zip_with(tensor(*one), data=bytes(8))
    yield "storage too short packed", zip_with(tensor(*one), data=bytes(8), how=8)
    yield "storage missing", pack([("x/data.pkl", tensor(*one), 0), ("x/version", b"3\n", 0)])
    yield "storage empty", zip_with(tensor(*one), data=b"")
    yield "storage claims more, tensor does not", zip_with(tensor(*one, count=b"M\x00\x10"))
    yield "storage claims more, packed", zip_with(tensor(b"M\x00\x10\x85", b"K\x01\x85", count=b"M\x00\x10"), how=8)
    yield "offset beyond", zip_with(tensor(*one, offset=b"J\xff\xff\xff\x7f"))
    yield "offset negative", zip_with(tensor(*one, offset=b"J\xff\xff\xff\xff"))
    yield "offset overflows", zip_with(tensor(*one, offset=long_text(2**63 - 1)))
    yield "shape negative", zip_with(tensor(b"J\xff\xff\xff\xff\x85", b"K\x01\x85"))
    yield "stride negative", zip_with(tensor(b"K\x04\x85", b"J\xff\xff\xff\xff\x85"))
    yield "stride huge", zip_with(tensor(b"K\x04\x85", long_text(2**62) + b"\x85"))
    yield "shape overflows", zip_with(tensor(long_text(2**32) + long_text(2**32) + b"\x86", b"K\x00K\x00\x86"))
    yield "shape of text", zip_with(tensor(text("4") + b"\x85", b"K\x01\x85"))
    yield "shape of floats", zip_with(tensor(b"G\x40\x10\x00\x00\x00\x00\x00\x00\x85", b"K\x01\x85"))
    yield "shape of nothing", zip_with(tensor(b")", b")"))
    yield "stride and shape unlike", zip_with(tensor(b"K\x02K\x02\x86", b"K\x01\x85"))
    yield "zero in the shape", zip_with(tensor(b"K\x00\x85", b"K\x01\x85"))
    yield "count negative", zip_with(tensor(*one, count=b"J\xff\xff\xff\xff"))
    yield "count of text", zip_with(tensor(*one, count=text("4")))
    yield "count true", zip_with(tensor(*one, count=b"\x88"))
    yield (
        "text with a lone surrogate for a name",
        zip_with(b"\x80\x02}X\x03\x00\x00\x00\xed\xa0\x80" + tensor(*one)[9:]),
    )
    for name in ("\x1b[2J\x1b]0;owned\x07", "a\nb", "a\x00b", "\u202eevil", "x" * 100_000, "[bold]", "../../x", "🦀"):
        yield f"name {name[:8]!r}", saved({name: torch.ones(2)})
        yield f"name {name[:8]!r} of no tensor", saved({name: 3, "a": torch.ones(1)})
        yield f"key {name[:8]!r}", saved({name: {"a": torch.ones(1)}})
    for name, value in odd_values().items():
        yield f"value {name}", saved({"a": value})
        yield f"value {name} legacy", saved({"a": value}, zipped=False)


def odd_values() -> dict[str, Any]:
    """What torch saves and no ByteFormer has."""
    base = torch.arange(6.0)
    return {
        "sparse": torch.eye(3).to_sparse(),
        "sparse csr": torch.eye(3).to_sparse_csr(),
        "complex": torch.ones(2, dtype=torch.complex64),
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "bool": torch.ones(2, dtype=torch.bool),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "zero-size": torch.ones(0),
        "no axes": torch.tensor(1.0),
        "meta": torch.empty(3, device="meta"),
        "strided": base[::2],
        "overlapping": base.as_strided((3, 3), (1, 1)),
        "expanded": torch.ones(1).expand(1000, 1000),
        "nan": torch.tensor([float("nan")]),
        "none": None,
        "bytes": b"a",
        "bytearray": bytearray(b"a"),
        "a set": {1},
        "nested": {"b": {"c": [torch.ones(1)]}},
        "tuple keys": {(1, 2): torch.ones(1)},
        "complex number": 1j,
        "size": torch.Size([1]),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
    }


def odd_zips() -> Iterator[tuple[str, bytes]]:
    """Zip files that torch did not write."""
    good = saved({"a": torch.ones(4)})
    members = read_members(good)
    pickled = next(member for member in members if member[0].endswith("data.pkl"))
    yield "members twice", pack([*members, pickled])
    yield "members twice, other case", pack([*members, ("archive/DATA.PKL", zip_with(b"\x80\x02}."), 0)])
    for name in ("../../evil", "/etc/evil", "C:\\evil", "archive/../../evil", "archive/data/../../evil", "a" * 60_000):
        yield f"extra name {name[:20]}", pack([*members, (name, b"evil", 0)])
        yield (
            f"folder {name[:20]}",
            pack([(file.replace("archive", name, 1), data, how) for file, data, how in members]),
        )
    for order in (b"big", b"little", b"middle", b"", b"\xff" * 100):
        changed = [(n, order if n.endswith("byteorder") else data, how) for n, data, how in members]
        yield f"byteorder {order[:6]!r}", pack(changed)
    for file in (".format_version", ".storage_alignment", "version"):
        for content in (b"", b"9" * 5000, b"-1", b"x"):
            changed = [(n, content if n.endswith(file) else data, how) for n, data, how in members]
            yield f"{file} {content[:4]!r}", pack(changed)
    yield "many members", pack([*members, *((f"archive/{i}", b"", 0) for i in range(20_000))])
    yield "a zip in front", good + good
    yield "text behind", good + b"x" * 100
    yield "text in front", b"PK\x03\x04" + b"x" * 96 + good
    yield (
        "encrypted",
        good.replace(b"PK\x01\x02\x00\x00", b"PK\x01\x02\x00\x00")[: good.index(b"PK\x01\x02") + 8]
        + (b"\x01\x08" + good[good.index(b"PK\x01\x02") + 10 :]),
    )
    yield "tar", _tar()
    yield "torchscript", pack([("x/data.pkl", b"\x80\x02}.", 0), ("x/constants.pkl", b"", 0)])
    nested = io.BytesIO()
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr("x/data.pkl", good)
    yield "zip for a pickle", nested.getvalue()


def all_cases() -> dict[str, bytes]:
    """Every one, by its name."""
    makers = (code_runners, memory_bombs, time_bombs, false_tensors, odd_zips)
    return {f"{maker.__name__}: {name}": data for maker in makers for name, data in maker()}


def _tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Calls(print, "ran"), 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def _tar_and_legacy() -> bytes:
    """Begins as a legacy file and is a header of tar as well, one that announces 8 GB of names."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 8**11 - 1
    start = LEGACY_START[:26] + b"X" + struct.pack("<I", 400)
    block = bytearray(start + entry.tobuf()[len(start) :])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block) + b"." + bytes(4000)


def _with_sizes(data: bytes, size: int) -> bytes:
    """The same zip file, whose directory gives every member this size."""
    changed, at = bytearray(data), 0
    while (at := changed.find(b"PK\x01\x02", at)) >= 0:
        changed[at + 24 : at + 28] = struct.pack("<I", size)
        at += 4
    return bytes(changed)
