"""`--override a.b=c`: one option set over what the file says, as CoreNet's --common.override-kwargs does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from byteformer_convert.corenet.flat_yaml import parse_value
from byteformer_convert.corenet.option_table import ALL_OPTIONS, BYTEFORMER, Option
from byteformer_convert.errors import OptionsError, UsageError

EXAMPLE: Final = f"For example: --override {BYTEFORMER}window_sizes=32"


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Option key to value, of equal keys the last one.

    Keys may be written with dashes, as on CoreNet's command line, or with underscores, as in its YAMLs. Values are
    YAML; lists may also be separated by commas. Where CoreNet's own reading of the same text differs from YAML's,
    CoreNet's counts (`010` is 10, `1e-5` a number), or the text is refused.

    Raises:
        UsageError: Not of the form KEY=VALUE.
        OptionsError: Keys that have no effect on what is converted, and values that cannot be read.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for text in overrides:
        key, raw = _split(text)
        option = ALL_OPTIONS.get(key)
        if option is None:
            problems.append(f"{key} is not an option that changes what is converted{nearest(key, ALL_OPTIONS)}.")
            continue
        try:
            values[key] = _read(option, raw)
        except OptionsError as err:
            problems.append(f"{key}: {err.message}")
    if problems:
        raise OptionsError("\n".join(problems), where="--override", hint=EXAMPLE)
    return values


def nearest(key: str, known: Iterable[str]) -> str:
    """The end of a sentence that names the known key most like this one; empty where none is alike."""
    near = difflib.get_close_matches(key[:100], list(known), n=1, cutoff=0.6)
    return f"; the nearest one is {near[0]}" if near else ""


def _split(text: str) -> tuple[str, str]:
    key, equals, raw = text.partition("=")
    key = key.strip().removeprefix("--").replace("-", "_")
    if not equals or not key or "=" in raw:
        raise UsageError(f"{text!r} is not of the form KEY=VALUE.", where="--override", hint=EXAMPLE)
    return key, raw.strip()


def _read(option: Option, raw: str) -> Any:
    match option.kind:
        case "truth":
            return _truth(raw)
        case "truths":
            return _truths(raw)
        case "wholes":
            return _wholes(raw)
        case "whole":
            return _python_number(int, raw)
        case "number":
            return _python_number(float, raw)
        case "word" | "name":
            value = parse_value(raw, source="--override")
            return value if isinstance(value, str) else raw
        case _:
            return parse_value(raw, source="--override")


def _python_number(convert: type[int] | type[float], raw: str) -> Any:
    try:
        return convert(raw)
    except ValueError:
        return parse_value(raw, source="--override")


def _truth(raw: str) -> bool:
    if raw.lower() not in ("true", "false"):
        # CoreNet takes any text without "true" in it for false: `yes` and `1` are false there and true in YAML.
        raise OptionsError(f"{raw!r} is neither true nor false.")
    return raw.lower() == "true"


def _truths(raw: str) -> Any:
    if raw.startswith("["):
        return parse_value(raw, source="--override")
    words = [word.strip() for word in raw.split(",")]
    if any(word.lower() != "true" for word in words):
        # CoreNet applies bool() to each word, and bool("false") is true.
        raise OptionsError(
            f"{raw!r} is true everywhere in CoreNet, whose overrides take any word of such a list for true. "
            "Write a YAML list: [true, false, ...]."
        )
    return [True] * len(words)


def _wholes(raw: str) -> Any:
    if raw.startswith("["):
        return parse_value(raw, source="--override")
    return [_python_number(int, word.strip()) for word in raw.split(",")]
