"""A manifest of conversions: YAML or JSON, defaults and entries, globs over the folders of training runs."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from byteformer_convert.checking import LOGITS_ATOL
from byteformer_convert.conversion import DTYPES
from byteformer_convert.corenet.flat_yaml import MAX_BYTES, parse_value
from byteformer_convert.corenet.option_table import shown
from byteformer_convert.corenet.plain_file import read_plain
from byteformer_convert.errors import ManifestError, OptionsError, UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One conversion; the fields are those of `convert`.

    Attributes:
        name: Of the folder to write, below the batch's output.
        push: What `push-to-hub` takes, `repo_id` first; None to push nothing.
    """

    name: str
    weights: Path | None = None
    config: Path | None = None
    published: str | None = None
    overrides: tuple[str, ...] = ()
    weights_key: str = "auto"
    labels: Path | None = None
    dtype: str = "auto"
    max_shard_size: str | None = None
    license: str | None = None
    trim_positions: int | None = None
    atol: float = LOGITS_ATOL
    skip_parity: bool = False
    push: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


class _Key(NamedTuple):
    """What a key of an entry takes."""

    types: tuple[type, ...]
    noun: str
    choices: tuple[str, ...] = ()


_TEXT: Final = _Key((str,), "text")
_TRUTH: Final = _Key((bool,), "true or false")
KEYS: Final[Mapping[str, _Key]] = {
    "name": _TEXT,
    "runs": _Key((str,), "a pattern for folders"),
    "weights": _Key((str,), "a path"),
    "config": _Key((str,), "a path"),
    "published": _TEXT,
    "overrides": _Key((list,), "a list of KEY=VALUE"),
    "weights_key": _Key((str,), "auto, model or ema", ("auto", "model", "ema")),
    "labels": _Key((str,), "a path"),
    "dtype": _Key((str,), ", ".join(DTYPES), DTYPES),
    "max_shard_size": _TEXT,
    "license": _TEXT,
    "trim_positions": _Key((int,), "a whole number"),
    "atol": _Key((int, float), "a number"),
    "skip_parity": _TRUTH,
    "push": _Key((str, dict), "USER/NAME, or a mapping"),
}
PUSH_KEYS: Final[Mapping[str, _Key]] = {
    "repo_id": _TEXT,
    "private": _TRUTH,
    "revision": _TEXT,
    "create_pr": _TRUTH,
    "commit_message": _TEXT,
    "commit_description": _TEXT,
    "allow_unverified": _TRUTH,
}
PATHS: Final = ("weights", "config", "labels")
MOST_SHOWN: Final = 20
SHARD: Final = re.compile(r"[0-9]{1,9}/[0-9]{1,9}")


def read_manifest(path: Path) -> tuple[Entry, ...]:
    """The entries of a manifest, globs filled in; relative paths begin at the manifest's folder.

    Raises:
        ManifestError: It cannot be read, or says something that makes no sense; every problem, by entry.
    """
    defaults, given = _parts(_content(path), path)
    problems: list[str] = []
    entries: list[Entry] = []
    for number, raw in enumerate(given, start=1):
        label = f"entry {number}" + (f" ({raw['name']!s:.100})" if isinstance(raw, dict) and "name" in raw else "")
        found = list(_key_problems(raw, KEYS)) if isinstance(raw, dict) else ["is not a mapping"]
        if not found:
            try:
                entries += _entries({**defaults, **raw}, path.parent)
            except (ValueError, NotImplementedError, OSError) as error:  # pathlib's, over a pattern that is none
                found = [f"{error!s:.300}"]
        problems += [f"{label}: {problem}" for problem in found]
    problems += _repeated(entries)
    if problems:
        problems = [*problems[:MOST_SHOWN], *([f"and {more} more"] if (more := len(problems) - MOST_SHOWN) > 0 else [])]
        listed = problems[0] if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{listed}.", where=path.name, hint="`batch --help` and the README show what it may say.")
    return tuple(entries)


def shard_of(entries: Sequence[Entry], shard: str | None) -> tuple[Entry, ...]:
    """Every Nth entry, beginning with the Ith, for `I/N`; so long and short ones spread over the shards.

    Raises:
        UsageError: It is not of that form, or I is not from 1 to N.
    """
    if shard is None:
        return tuple(entries)
    index, _, count = shard.partition("/")
    if not (SHARD.fullmatch(shard) and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard is {shown(shard)}.", hint="Write I/N with I from 1 to N, such as 3/8.")
    return tuple(entries[int(index) - 1 :: int(count)])


def _content(path: Path) -> Any:
    try:
        return parse_value(read_plain(path, MAX_BYTES).decode("utf-8-sig"), source=path.name)  # JSON is YAML
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}.", where=path) from error
    except (OptionsError, UnicodeDecodeError) as error:
        first = " ".join(str(getattr(error, "message", error)).split())
        raise ManifestError(f"is not YAML or JSON that can be used: {first}", where=path.name) from error


def _parts(content: Any, path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Defaults and entries."""
    if isinstance(content, list):
        return {}, content
    if not isinstance(content, dict) or not isinstance(content.get("entries"), list):
        raise ManifestError(
            "holds no list of entries.",
            where=path.name,
            hint="Write a list of conversions, or `defaults:` and `entries:`.",
        )
    if unknown := [str(key) for key in content if key not in ("defaults", "entries")]:
        raise ManifestError(f"has {shown(unknown[0])} beside defaults and entries.", where=path.name)
    defaults = content.get("defaults") or {}
    problems = list(_key_problems(defaults, KEYS)) if isinstance(defaults, dict) else ["is not a mapping"]
    if problems:
        raise ManifestError(f"defaults: {'; '.join(problems)}.", where=path.name)
    return defaults, content["entries"]


def _key_problems(raw: Mapping[Any, Any], known: Mapping[str, _Key]) -> Iterator[str]:
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(f"{key!s:.100}", known, n=1)
            yield f"{shown(key)} is not a key{f'; the nearest is {near[0]}' if near else ''}"
            continue
        types, noun, choices = known[key]
        wrong_type = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        if wrong_type or (choices and value not in choices):
            yield f"{key} is {shown(value)}, not {noun}"
        elif isinstance(value, list) and not all(isinstance(item, str) for item in value):
            yield f"{key} holds what is no text"
        elif key == "push" and isinstance(value, dict):
            yield from (f"push: {problem}" for problem in _key_problems(value, PUSH_KEYS))


def _entries(raw: dict[str, Any], base: Path) -> Iterator[Entry]:
    """One entry, or one for each folder that `runs` matches; ValueError says what is wrong."""
    pattern = raw.pop("runs", None)
    if pattern is None:
        yield _entry(raw, base)
        return
    if not {"weights", "config"} <= raw.keys():
        raise ValueError("runs needs weights and config, the names of the files in each folder")
    folders = sorted(folder for folder in _matches(base, pattern) if folder.is_dir())
    if not folders:
        raise ValueError(f"runs: no folder matches {pattern!r}")
    for folder in folders:
        files = {key: str(_only_match(folder, raw[key])) for key in ("weights", "config")}
        name = raw.get("name", "{run}").replace("{run}", _run_name(folder, base, pattern))
        yield _entry({**raw, **files, "name": name}, base)


def _matches(base: Path, pattern: str) -> Iterator[Path]:
    anchor = Path(pattern).anchor
    return Path(anchor).glob(pattern[len(anchor) :]) if anchor else base.glob(pattern)


def _only_match(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ValueError(f"{folder.name}: {len(found)} files match {pattern!r}, and it takes one")
    return found[0]


def _run_name(folder: Path, base: Path, pattern: str) -> str:
    """The folder's path behind what is fixed in the pattern, in one word: two runs may share their last part."""
    parts = Path(pattern).parts
    fixed = next((index for index, part in enumerate(parts) if any(letter in part for letter in "*?[")), len(parts) - 1)
    return "-".join(folder.relative_to(base.joinpath(*parts[:fixed])).parts)


def _entry(raw: dict[str, Any], base: Path) -> Entry:
    values = {key: base / value if key in PATHS else value for key, value in raw.items()}
    values["overrides"] = tuple(values.get("overrides", ()))
    if "published" not in values and "weights" not in values:
        raise ValueError("has neither weights nor published")
    name = str(values.setdefault("name", values.get("published") or values["weights"].stem))
    if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise ValueError(f"name is {shown(name)}, which cannot be a folder's")
    return Entry(**{**values, "push": _push(values.get("push"), name)})


def _push(given: str | Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    if given is None:
        return None
    push = {"repo_id": given} if isinstance(given, str) else dict(given)
    if "repo_id" not in push:
        raise ValueError("push has no repo_id")
    return push | {"repo_id": push["repo_id"].replace("{name}", name)}


def _repeated(entries: Sequence[Entry]) -> Iterator[str]:
    for name, count in Counter(entry.name for entry in entries).items():
        if count > 1:
            yield f"{count} entries are named {name!r}, and each needs a folder of its own"
