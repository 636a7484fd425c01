"""Reads a YAML or JSON file of options into flat dotted keys, as CoreNet does, without trusting the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from byteformer_convert.errors import OptionsError

MAX_BYTES: Final = 4 * 2**20
MAX_DEPTH: Final = 50
MAX_NODES: Final = 50_000
MAX_DIGITS: Final = 1000

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML: Final = "tag:yaml.org,2002:"
_KEY_TAGS: Final = frozenset({f"{_YAML}str", f"{_YAML}merge", f"{_YAML}value"})
_NUMBER_TAGS: Final = frozenset({f"{_YAML}int", f"{_YAML}float"})
_PLAIN_TAGS: Final = _KEY_TAGS | {
    _YAML + name
    for name in ("null", "bool", "int", "float", "binary", "timestamp", "omap", "pairs", "set", "seq", "map")
}


@dataclass(frozen=True, slots=True)
class FlatFile:
    """The options in one file.

    Args:
        values: Dotted key to value, in the file's order.
        notes: One sentence for every key that stands in the file more than once.
    """

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


def read_flat_yaml(path: Path) -> FlatFile:
    """Reads a CoreNet YAML.

    Raises:
        OptionsError: No such file, not readable, too large, not UTF-8, or anything `parse_flat_yaml` refuses.
    """
    return parse_flat_yaml(_read_text(path), source=path.name)


def read_flat_json(path: Path) -> FlatFile:
    """Reads a config.json with flat dotted keys.

    Raises:
        OptionsError: No such file, not readable, too large, not UTF-8, not JSON, or not an object.
    """
    text = _read_text(path)
    try:
        content = json.loads(text)
        values = flatten(content) if isinstance(content, dict) else None
    except (ValueError, RecursionError) as err:
        raise OptionsError(f"this is not JSON: {err}.", where=path.name) from err
    if values is None:
        raise OptionsError(f"this is {_noun(content)}, not an object of options.", where=path.name)
    return FlatFile(values)


def parse_flat_yaml(text: str, *, source: str) -> FlatFile:
    """Parses the text of a CoreNet YAML.

    Only plain YAML values are constructed. The text is measured before anything recursive touches it: libyaml's C
    composer overflows the stack on some thousand nested brackets, and a few lines of aliases can stand for terabytes.

    Raises:
        OptionsError: Not YAML (with line and column), empty, not a mapping, tags that are not plain YAML, keys that
            are not text, too deep, or too large once its aliases are expanded.
    """
    root = _compose(text, source)
    if root is None:
        raise OptionsError("this file is empty, and an empty file says nothing about a model.", where=source)
    _check_size(root, source)
    _check_tags(root, source)
    # Before construction, which rewrites the nodes: merged keys (`<<`) would then look like repeated ones.
    notes = tuple(_duplicates(root, "", source)) if isinstance(root, yaml.MappingNode) else ()
    content = _construct(root, source)
    if not isinstance(content, dict):
        raise OptionsError(
            f"this is {_noun(content)}, not a mapping of options.",
            where=source,
            hint="A CoreNet YAML begins with keys such as `dataset:` and `model:`.",
        )
    return FlatFile(flatten(content), notes)


def parse_value(text: str, *, source: str) -> Any:
    """One YAML value, for an override; None where the text is empty. Raises like `parse_flat_yaml`."""
    root = _compose(text, source)
    if root is None:
        return None
    _check_size(root, source)
    _check_tags(root, source)
    return _construct(root, source)


def flatten(content: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; of equal keys the last one counts, and an empty mapping leaves nothing.

    Source: CoreNet's flatten_yaml_as_dict. Keys that are dotted already stay as they are.
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        dotted = f"{parent}.{key}" if parent else key
        flat |= flatten(value, dotted) if isinstance(value, Mapping) else {dotted: value}
    return flat


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OptionsError("this is a pipe or a device, and options are read more than once.", where=path.name)
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as err:
        raise OptionsError("there is no such file.", where=path.name, hint=f"Looked for {path}.") from err
    except OSError as err:
        raise OptionsError(f"this file cannot be read: {err.strerror}.", where=path.name) from err
    if len(raw) > MAX_BYTES:
        raise OptionsError(
            f"this file has more than {MAX_BYTES // 2**20} MB, so it is not a file of options.",
            where=path.name,
            hint="Is it the checkpoint? The YAML is the file that CoreNet trained it with.",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        raise OptionsError(
            f"this is not a text file in UTF-8 (line {line}, byte 0x{raw[err.start]:02x}).",
            where=path.name,
            hint="Is it the checkpoint? The YAML is the file that CoreNet trained it with.",
        ) from err


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise OptionsError(
                    f"line {_line(event.start_mark)}: this is nested more than {MAX_DEPTH} deep.", where=source
                )
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as err:
        raise OptionsError(_syntax_sentence(err), where=source) from err
    except UnicodeEncodeError as err:  # bytes on the command line that are no text
        raise OptionsError("this is not text in UTF-8.", where=source) from err
    return node


def _syntax_sentence(err: yaml.YAMLError) -> str:
    mark = getattr(err, "problem_mark", None)
    if mark is None:
        reason = getattr(err, "reason", None) or str(err)
        return f"this is not YAML: {reason}."
    problem = " ".join(filter(None, (getattr(err, "context", None), getattr(err, "problem", None))))
    return f"line {mark.line + 1}, column {mark.column + 1}: this is not YAML: {problem}."


def _check_size(root: yaml.Node, source: str) -> None:
    """Measures what the file holds once every alias is expanded, looking at each node once.

    An alias comes after what it stands for, so this recurses no deeper than the text is nested.
    """
    measured: dict[int, tuple[int, int]] = {}

    def measure(node: yaml.Node) -> tuple[int, int]:
        if id(node) not in measured:
            measured[id(node)] = (MAX_NODES, 1)  # for a node that holds itself
            inside = [measure(child) for child in _children(node)]
            measured[id(node)] = 1 + sum(size for size, _ in inside), 1 + max((depth for _, depth in inside), default=0)
        return measured[id(node)]

    size, depth = measure(root)
    if depth > MAX_DEPTH + 1:
        raise OptionsError(f"it is nested more than {MAX_DEPTH} deep once its aliases are expanded.", where=source)
    if size > MAX_NODES:
        raise OptionsError(
            f"it holds over {MAX_NODES:,} values once its aliases (`*name`) are expanded, or one that holds itself.",
            where=source,
        )


def _check_tags(root: yaml.Node, source: str) -> None:
    for node in _unique_nodes(root):
        if node.tag not in _PLAIN_TAGS:
            raise OptionsError(
                f"line {_line(node.start_mark)}: the tag {node.tag.replace(_YAML, '!!'):.100} is not plain YAML. "
                "Such a tag can make a reader run code, so it is refused.",
                where=source,
            )
        # PyYAML's time for a number to the base of 60 (1:30:00) grows with the square of its length.
        if node.tag in _NUMBER_TAGS and len(node.value) > MAX_DIGITS:
            raise OptionsError(f"line {_line(node.start_mark)}: a number of {len(node.value):,} digits.", where=source)


def _construct(root: yaml.Node, source: str) -> Any:
    try:
        return yaml.constructor.SafeConstructor().construct_document(root)
    except yaml.YAMLError as err:
        raise OptionsError(_syntax_sentence(err), where=source) from err
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as err:
        # PyYAML converts a value under an explicit or guessed tag (`!!int x`, 2001-99-99) without guarding it.
        raise OptionsError(f"it holds a value that YAML cannot convert: {err}.", where=source) from err


def _duplicates(node: yaml.MappingNode, parent: str, source: str) -> Iterator[str]:
    """One sentence a key that a mapping has twice; raises for a key that is not text, on which CoreNet fails."""
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = _line(key.start_mark)
        if key.tag not in _KEY_TAGS:
            raise OptionsError(
                f"line {line}: the key {_key_text(key)} is not text, and CoreNet joins keys as text.",
                where=source,
                hint="Quote it, or take it out. YAML reads yes, no, on, off and numbers as values, not as text.",
            )
        dotted = f"{parent}.{key.value}" if parent else key.value
        if key.value in seen and key.tag != f"{_YAML}merge":
            lines = f"{seen[key.value]} and {line}"
            yield f"{dotted:.200} stands in lines {lines}; CoreNet takes the last, and so did this."
        seen[key.value] = line
        if isinstance(value, yaml.MappingNode):
            yield from _duplicates(value, parent if key.tag == f"{_YAML}merge" else dotted, source)


def _line(mark: Any) -> int:
    return int(mark.line) + 1


def _key_text(key: yaml.Node) -> str:
    return f"{key.value:.100}" if isinstance(key, yaml.ScalarNode) else "(a list or mapping)"


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _unique_nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node once, however many aliases point to it."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        stack.extend(_children(node))


def _noun(content: Any) -> str:
    if isinstance(content, list):
        return "a list"
    return "empty" if content is None else f"one value, {content!r:.40}"
