"""Options made to do harm: as files, and as wrong values for every option there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from byteformer_convert.corenet.option_table import ALL_OPTIONS, BYTEFORMER

START = b"model: {classification: {name: byteformer}}\n"
# What somebody may write in the place of any value.
VALUES: dict[str, Any] = {
    "null": None, "true": True, "text": "x", "empty": "", "zero": 0, "minus one": -1, "minus a lot": -(10**15),
    "10^5": 10**5, "10^9": 10**9, "10^12": 10**12, "10^15": 10**15, "10^30": 10**30, "10^400": 10**400,
    "half": 0.5, "a whole float": 3.0, "1e308": 1e308, "nan": float("nan"), "inf": float("inf"),
    "-inf": float("-inf"), "list": [], "a list of one": [1], "huge list": [1] * 50_000, "nested": [[1], [2]],
    "list of null": [None], "mapping": {"a": 1}, "list of 10^15": [10**15] * 12, "list of -1": [-1] * 12,
    "list of 0": [0] * 12, "list of nan": [float("nan")] * 12, "list of text": ["1"] * 12,
    "list of two 10^15": [10**15, 10**15], "long text": "x" * 100_000, "control": "\x1b[2J\x00\u202e",
    "surrogate": "\ud800", "path": "../../etc/passwd", "markup": "[bold]x[/]", "format": "{0.__class__}%s",
    "date": "2001-99-99", "number as text": "128", "bytes": b"\x00\xff",
}  # fmt: skip


def wrong_values() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every option with every value; new options are in it as soon as they are in the table."""
    switches = {key: True for key in ALL_OPTIONS if key.endswith(".enable") and not key.startswith("ema")}
    for task in ("classification", "audio_classification"):
        start = {f"model.{task}.name": "byteformer", "dataset.category": task, **switches}
        for key in ALL_OPTIONS:
            for name, value in VALUES.items():
                yield f"{task} {key} {name}", {**start, key: value}


def hostile_files() -> Iterator[tuple[str, bytes]]:
    """YAML files, by name."""
    yield (
        "aliases that explode",
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (i + 1, i + 1, *[i] * 9) for i in range(97, 110)
        ),
    )
    yield (
        "merges that explode",
        b"a: &a {k: 1}\n"
        + b"".join(
            b"%c: &%c {<<: [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]}\n" % (i + 1, i + 1, *[i] * 8) for i in range(97, 115)
        ),
    )
    yield "holds itself", b"a: &a [*a]\n"
    yield "merges itself", b"a: &a {<<: *a}\n"
    yield "deep lists", b"a: " + b"[" * 100_000
    yield "deep mappings", b"{a: " * 100_000
    yield "deep blocks", b"\n".join(b" " * i + b"a:" for i in range(2500))
    yield "deep dotted key", b"a." * 100_000 + b"b: 1\n"
    yield "many keys", START + b"".join(b"k%d: 1\n" % i for i in range(20_000))
    yield (
        "many unknown options",
        b"model.classification.name: byteformer\n"
        + b"".join(BYTEFORMER.encode() + b"mode%d: 1\n" % i for i in range(20_000)),
    )
    yield (
        "long unknown option",
        b'"' + BYTEFORMER.encode() + b"x" * 1_000_000 + b'": 1\nmodel.classification.name: byteformer\n',
    )
    yield "one key many times", START + b"model: 1\n" * 60_000
    yield "duplicate options", b"model:\n classification:\n  name: byteformer\n  name: resnet\n  name: byteformer\n"
    yield "long number", b"a: " + b"9" * 1_000_000
    yield "long octal", b"a: 0" + b"7" * 1_000_000
    yield "long base 60", b"a: 1" + b":30" * 300_000
    yield "long float", b"a: " + b"9" * 1_000_000 + b".0e+9"
    yield "long underscore number", b"a: 1" + b"_" * 1_000_000
    yield "long text", b"a: " + b"x" * 4_000_000
    yield "long anchor", b"&" + b"a" * 1_000_000 + b" x"
    yield "long tag", b"!" + b"a" * 1_000_000 + b" x"
    yield "many documents", b"---\na: 1\n" * 100_000
    yield "tags that run code", b"a: !!python/object/apply:os.system ['touch ran']\n"
    yield "tag of another kind", b"!!python/module:antigravity x\n"
    yield "a tag on a key", b"? !!python/name:os.system\n: 1\n"
    yield "bad conversions", b"a: !!int x\nb: !!float y\nc: !!timestamp z\nd: !!binary '*'\n"
    yield "bad date", b"a: 2001-99-99\n"
    yield "set and omap", b"a: !!set {x, y}\nb: !!omap [x: 1]\nc: !!pairs [x: 1]\n"
    yield "a list for a key", b"? [a, b]\n: 1\n"
    yield "a number for a key", b"1: 2\n"
    yield "null for a key", b"~: 2\n"
    yield "nan for a key", b".nan: 2\n"
    yield "only a number", b"1e999"
    yield "NUL", b"a: \x00\n"
    yield (
        "escape in a key",
        b'"\\e[2J\\x07": 1\nmodel: {classification: {name: byteformer, byteformer: {"\\e[2J": 1}}}\n',
    )
    yield "surrogate in a key", b'model: {classification: {name: byteformer, byteformer: {"\\ud800": 1}}}\n'
    yield "surrogate in a value", b'model: {classification: {name: "\\ud800"}}\n'
    yield "BOM", b"\xef\xbb\xbf" + START
    yield "two BOMs", b"\xef\xbb\xbf\xef\xbb\xbf" + START
    yield "UTF-16", START.decode().encode("utf-16")
    yield "UTF-32", START.decode().encode("utf-32")
    yield "UTF-7", b"+AG0-odel: 1\n"
    yield "latin-1", b"a: \xe4\n"
    yield "overlong", b"a: \xc0\xaf\n"
    yield "binary", bytes(range(256)) * 100
    yield "NULs", bytes(100_000)
    yield "5 MB", b"# \n" * (5 << 18)
    yield "line separators", b"a: 1\xe2\x80\xa8b: 2\xc2\x85c: 3\n"
    yield "a directive", b"%YAML 9.9\n---\na: 1\n"
    yield "a tag directive", b"%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system ['touch ran']\n"
    yield "empty", b""
    yield "a comment", b"# x"
    yield "two documents", START + b"---\n" + START


def as_yaml(flat: dict[str, Any]) -> bytes:
    """The file; text that YAML cannot hold becomes what it can."""
    return yaml.safe_dump(flat, allow_unicode=False, width=10**9).encode("utf-8", "surrogatepass")
