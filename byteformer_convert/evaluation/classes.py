"""Which row of the classifier each class of a data set is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from byteformer_convert.errors import LabelsError

if TYPE_CHECKING:
    from pathlib import Path

    from byteformer_convert.evaluation.items import Source

CLASS_ORDERS: Final = ("check", "data", "labels")
PLACEHOLDER: Final = re.compile(r"LABEL_\d+")
WORDNET_ID: Final = re.compile(r"n\d{8}")
SHOWN_ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class ClassRows:
    """The decision.

    Attributes:
        rows: For each class of the data set, its row of the classifier.
        how: A sentence on how that was decided.
    """

    rows: tuple[int, ...]
    how: str


def class_rows(source: Source, labels: Sequence[str], order: str, where: Path) -> ClassRows:
    """Finds the rows, and refuses to guess.

    Args:
        source: The data set.
        labels: The folder's class names, in the order of the classifier's rows.
        order: check: the data's order and the labels' must agree; data: count as the data does, whatever the labels
            say; labels: go by name.
        where: The data set's path, for errors.

    Raises:
        LabelsError: The two orders differ, a class has no row, or the counts differ; both orders are in the message.
    """
    if source.numbered and not set(source.classes) <= set(labels):
        return _by_number(source.classes, labels, where)
    if order == "labels":
        return _by_name(source.classes, labels, where)
    if order == "data":
        return _by_position(source.classes, labels, where, "counted as the data counts them; the labels were not asked")
    return _checked(source.classes, labels, where)


def _checked(classes: Sequence[str], labels: Sequence[str], where: Path) -> ClassRows:
    if [*map(_normal, classes)] == [*map(_normal, labels)]:
        return _by_position(classes, labels, where, "the data's order is that of the folder's labels")
    if all(PLACEHOLDER.fullmatch(label) for label in labels):
        return _by_position(classes, labels, where, "counted as the data counts them; the folder names no classes")
    if all(map(WORDNET_ID.fullmatch, classes)) and not any(map(WORDNET_ID.match, labels)):
        return _by_position(classes, labels, where, "WordNet ids in sorted order; the folder's labels hold no ids")
    if len(classes) < len(labels) and not _unknown(classes, labels):
        return _by_name(classes, labels, where)  # a part of the classes cannot be counted, only named
    raise LabelsError(
        f"its classes are not in the order of the folder's labels:\n{_both_orders(classes, labels)}",
        where=where,
        hint="--class-order labels goes by name; --class-order data counts as the data does, whatever the labels say.",
    )


def _by_position(classes: Sequence[str], labels: Sequence[str], where: Path, how: str) -> ClassRows:
    if len(classes) != len(labels):
        raise LabelsError(
            f"has {len(classes):,} classes, the classifier has {len(labels):,}:\n{_both_orders(classes, labels)}",
            where=where,
            hint="Give data with every class, or name its classes as the folder's labels do.",
        )
    return ClassRows(tuple(range(len(classes))), how)


def _by_name(classes: Sequence[str], labels: Sequence[str], where: Path) -> ClassRows:
    if unknown := _unknown(classes, labels):
        raise LabelsError(
            f"{len(unknown):,} of its classes are not among the folder's labels, such as {unknown[0]!r}:\n"
            f"{_both_orders(classes, labels)}",
            where=where,
            hint="--class-order data counts as the data does, whatever the labels say.",
        )
    row_of = {_normal(label): row for row, label in enumerate(labels)}
    return ClassRows(tuple(row_of[_normal(name)] for name in classes), "each class goes by its name")


def _by_number(classes: Sequence[str], labels: Sequence[str], where: Path) -> ClassRows:
    if wrong := [name for name in classes if int(name) >= len(labels)]:
        raise LabelsError(
            f"says class {wrong[0]}; the classifier has classes 0 to {len(labels) - 1}.",
            where=where,
            hint="Numbers of classes start at 0.",
        )
    return ClassRows(tuple(map(int, classes)), "the data numbers the rows of the classifier")


def _unknown(classes: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Classes that no label, or more than one, is named like."""
    counts = Counter(map(_normal, labels))
    return [name for name in classes if counts[_normal(name)] != 1]


def _normal(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _both_orders(classes: Sequence[str], labels: Sequence[str]) -> str:
    """The rows at which the two differ, side by side."""
    rows = range(max(len(classes), len(labels)))
    different = [row for row in rows if [*classes[row : row + 1]] != [*labels[row : row + 1]]]
    lines = [f"  {'row':>4}  {'the data':30}  the folder's labels"]
    for row in different[:SHOWN_ROWS]:
        ours, theirs = "".join(classes[row : row + 1]) or "-", "".join(labels[row : row + 1]) or "-"
        lines.append(f"  {row:>4}  {ours:30}  {theirs}")
    if (left := len(different) - SHOWN_ROWS) > 0:
        lines.append(f"  ... and {left:,} more rows")
    return "\n".join(lines)
