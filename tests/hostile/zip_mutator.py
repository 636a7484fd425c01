"""Changes inside torch's zip files: raw changed bytes die in the checksums, a rebuilt zip reaches the reader."""

from __future__ import annotations

import io
import random
import warnings
import zipfile
from collections.abc import Callable

Members = list[tuple[str, bytes, int]]  # name, content, how it is packed

_OPCODES = bytes(range(0x28, 0x60)) + bytes(range(0x61, 0x98))
_LENGTHS = [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00"]


def mutate_zip(data: bytes, longest: int, seed: int) -> bytes:
    """Another zip file like this one, or other bytes where this is no zip file."""
    chance = random.Random(seed)
    members = read_members(data)
    if not members or chance.random() < 0.05:
        return mutate_bytes(data, chance)[:longest]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        members = chance.choice(_CHANGES)(members, chance)
    packed = pack(members)
    return packed if len(packed) <= longest else data


def read_members(data: bytes) -> Members:
    """Name, content and packing of each member that can be read; none of what is no zip file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if entry.file_size < 1 << 20]
            return [(entry.filename, archive.read(entry), entry.compress_type) for entry in entries]
    except Exception:  # a fuzzer's file: whatever zipfile trips over means that it is no zip file
        return []


def pack(members: Members) -> bytes:
    """A zip file of these members, in their order, names as they are."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names that are there twice
        for name, content, how in members:
            archive.writestr(zipfile.ZipInfo(name or "x"), content, compress_type=how if how in (0, 8) else 0)
    return target.getvalue()


def mutate_bytes(content: bytes, chance: random.Random) -> bytes:
    """A few changes of the kinds that trip readers: bits, opcodes, lengths, pieces gone, twice or moved."""
    changed = bytearray(content or b"\x00")
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(changed))
        piece = slice(at, at + chance.choice([1, 1, 2, 4, 8, 32]))
        kind = chance.randrange(7)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.choice(_OPCODES)
        elif kind == 2:
            changed[at : at + 4] = chance.choice(_LENGTHS)
        elif kind == 3 and len(changed) > 40:
            del changed[piece]
        elif kind == 4:
            changed[at:at] = changed[piece]
        elif kind == 5:
            to = chance.randrange(len(changed))
            changed[to:to] = changed[piece]
        else:
            changed[at:at] = chance.choice(PICKLE_PIECES)
    return bytes(changed)


PICKLE_PIECES = (
    b"cposix\nsystem\n", b"cbuiltins\neval\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nload\n", b"R",
    b"b", b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch\nDoubleStorage\n", b"ccollections\nOrderedDict\n",
    b"Q", b"e", b"(", b"t", b"}", b"]", b"u", b"s", b"a", b"0", b"1", b"2", b"N", b"\x88", b"\x85", b"\x86",
    b"\x87", b"K\x00", b"h\x00", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"X\x00\x00\x00\x00", b"X\xff\xff\xff\x7f",
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"G\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"r\xff\xff\xff\x7f", b".",
)  # fmt: skip


def _change_pickle(members: Members, chance: random.Random) -> Members:
    return [
        (name, mutate_bytes(content, chance) if name.endswith("data.pkl") else content, how)
        for name, content, how in members
    ]


def _change_content(members: Members, chance: random.Random) -> Members:
    changed = list(members)
    at = chance.randrange(len(members))
    name, content, how = members[at]
    changed[at] = (name, mutate_bytes(content, chance), how)
    return changed


def _change_name(members: Members, chance: random.Random) -> Members:
    changed = list(members)
    at = chance.randrange(len(members))
    name, content, how = members[at]
    folder, _, file = name.partition("/")
    names = [f"../{name}", f"/{name}", file, f"{folder}/{folder}/{file}", f"{folder}/data/9", f"{folder}/version"]
    names += [f"{folder}/byteorder", f"{folder}/.data/serialization_id", f"{folder}/constants.pkl", f"{folder}\\{file}"]
    changed[at] = (chance.choice(names), content, how)
    return changed


def _change_packing(members: Members, chance: random.Random) -> Members:
    at = chance.randrange(len(members))
    return [(name, content, how ^ 8 if place == at else how) for place, (name, content, how) in enumerate(members)]


def _repeat(members: Members, chance: random.Random) -> Members:
    return [*members, chance.choice(members)]


def _drop(members: Members, chance: random.Random) -> Members:
    at = chance.randrange(len(members))
    return members if len(members) == 1 else members[:at] + members[at + 1 :]


def _move(members: Members, chance: random.Random) -> Members:
    return chance.sample(members, len(members))


def _grow_or_shrink(members: Members, chance: random.Random) -> Members:
    changed = list(members)
    at = chance.randrange(len(members))
    name, content, how = members[at]
    changed[at] = (name, chance.choice([b"", content[: len(content) // 2], content * 2, bytes(4096)]), how)
    return changed


_CHANGES: list[Callable[[Members, random.Random], Members]] = [
    _change_pickle, _change_pickle, _change_pickle, _change_pickle, _change_content, _change_name, _change_packing,
    _repeat, _drop, _move, _grow_or_shrink,
]  # fmt: skip
