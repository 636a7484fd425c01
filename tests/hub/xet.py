"""The content-addressed store behind Xet, as hf_xet talks to it: xorbs (packs of chunks), shards (how files are made).

Of both binary formats it reads what a download needs: which chunks of which xorb make a file, and where in the xorb the
chunks lie. Numbers are little-endian; a hash is written as text eight bytes at a time, each group backwards.
Source: the Xet protocol specification, https://huggingface.co/docs/xet
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator

from tests.hub.api import ID, readable, writable
from tests.hub.server import Hub, Request, Response, answer, refuse, route
from tests.hub.transfers import ranged

ACCESS = "xet-access"
EXPIRY = 4102444800  # the year 2100
HEADER = 48  # of a shard; every entry in it has the same size
END = b"\xff" * 32
HAS_VERIFICATION, HAS_METADATA = 1 << 31, 1 << 30


@route("GET", f"/api/models/{ID}/xet-write-token/(?P<rev>.+)")
def write_token(hub: Hub, request: Request) -> Response:
    repo = writable(hub, request)
    return repo if isinstance(repo, Response) else _token(hub)


@route("GET", f"/api/models/{ID}/xet-read-token/(?P<rev>.+)")
def read_token(hub: Hub, request: Request) -> Response:
    repo = readable(hub, request)
    return repo if isinstance(repo, Response) else _token(hub)


def _token(hub: Hub) -> Response:
    url = f"{hub.storage}/cas"
    headers = {"X_Xet_Cas_Url": url, "X_Xet_Access_Token": ACCESS, "X_Xet_Token_Expiration": str(EXPIRY)}
    return answer({"casUrl": url, "accessToken": ACCESS, "exp": EXPIRY}, **headers)


@route("GET", "/cas/v1/chunks/.+")
def known_chunks(hub: Hub, request: Request) -> Response:
    return refuse(404, "no such chunk")


@route("POST", "/cas/v1/xorb-grants/default/(?P<hash>[0-9a-f]{64})")
def grant(hub: Hub, request: Request) -> Response:
    """Whether a xorb has to be sent: 200 says that it is here."""
    if request.groups["hash"] in hub.store.xorbs:
        return answer({"was_inserted": False})
    return refuse(404, "not here")


@route("POST", "/cas/v1/xorbs/default/(?P<hash>[0-9a-f]{64})")
def put_xorb(hub: Hub, request: Request) -> Response:
    inserted = request.groups["hash"] not in hub.store.xorbs
    hub.store.xorbs[request.groups["hash"]] = request.body
    return answer({"was_inserted": inserted})


@route("POST", "/cas/v[12]/shards")
def put_shard(hub: Hub, request: Request) -> Response:
    for file_hash, terms, sha256 in read_shard(request.body):
        hub.store.xet_files[file_hash] = terms
        hub.store.xet_of_sha256[sha256] = file_hash
    return Response(200, json.dumps({"type": "result", "result": 1}).encode() + b"\n")


def text(raw: bytes) -> str:
    """A hash as it is written in addresses."""
    return "".join(f"{group:016x}" for group in struct.unpack("<4Q", raw))


def read_shard(shard: bytes) -> Iterator[tuple[str, list[tuple[str, int, int, int]], str]]:
    """Each file: its hash, its terms (xorb, bytes, first chunk, chunk after the last), its sha256."""
    at = HEADER
    while shard[at : at + 32] != END:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        entries = range(at + HEADER, at + HEADER * (1 + count), HEADER)
        terms = [(text(shard[e : e + 32]), *struct.unpack_from("<III", shard, e + 36)) for e in entries]
        file_hash = text(shard[at : at + 32])
        at += HEADER * (1 + count) + (HEADER * count if flags & HAS_VERIFICATION else 0)
        assert flags & HAS_METADATA, "a file without its sha256"
        yield file_hash, terms, text(shard[at : at + 32])
        at += HEADER


def chunk_offsets(xorb: bytes, count: int) -> list[int]:
    """Where the first `count` chunks begin, and where the last of them ends."""
    offsets = [0]
    for _ in range(count):
        # Eight bytes: version, length as stored (three bytes), compression, length unpacked (three bytes).
        stored = int.from_bytes(xorb[offsets[-1] + 1 : offsets[-1] + 4], "little")
        offsets.append(offsets[-1] + 8 + stored)
    return offsets


@route("GET", "/cas/v1/reconstructions/(?P<hash>[0-9a-f]{64})")
def reconstruction(hub: Hub, request: Request) -> Response:
    """How to put a file, or a range of it, together."""
    terms = hub.store.xet_files[request.groups["hash"]]
    total = sum(size for _, size, _, _ in terms)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "bytes=0-"))
    assert match is not None
    first, last = int(match[1]), min(int(match[2] or total - 1), total - 1)
    if first >= total:
        return refuse(416, "past the end")
    start, chosen, skipped = 0, [], 0
    for term in terms:
        if start <= last and start + term[1] > first:
            skipped = first - start if not chosen else skipped
            chosen.append(term)
        start += term[1]
    return answer(
        {
            "offset_into_first_range": skipped,
            "terms": [
                {"hash": xorb, "unpacked_length": size, "range": {"start": begin, "end": end}}
                for xorb, size, begin, end in chosen
            ],
            "fetch_info": _fetch_info(hub, chosen),
        }
    )


def _fetch_info(hub: Hub, terms: list[tuple[str, int, int, int]]) -> dict[str, list[dict[str, object]]]:
    info: dict[str, list[dict[str, object]]] = {}
    for xorb, _, begin, end in terms:
        offsets = chunk_offsets(hub.store.xorbs[xorb], end)
        row = {
            "range": {"start": begin, "end": end},
            "url": f"{hub.storage}/xorbs/{xorb}",
            "url_range": {"start": offsets[begin], "end": offsets[end] - 1},
        }
        info.setdefault(xorb, []).append(row)
    return info


@route("GET", "/xorbs/(?P<hash>[0-9a-f]{64})")
def get_xorb(hub: Hub, request: Request) -> Response:
    return ranged(hub.store.xorbs[request.groups["hash"]], request)
