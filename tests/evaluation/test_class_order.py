"""Which row of the classifier a class is: decided where it can be, an error where it would be a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from byteformer_convert.errors import LabelsError
from byteformer_convert.evaluation.classes import class_rows
from byteformer_convert.evaluation.items import FileItems, Source

WHERE = Path("data")


def source(*classes: str, numbered: bool = False) -> Source:
    return Source("class folders", FileItems(WHERE, (), ()), classes, numbered=numbered)


def rows(classes: tuple[str, ...], labels: tuple[str, ...], order: str = "check") -> tuple[int, ...]:
    return class_rows(source(*classes), labels, order, WHERE).rows


def test_the_same_order_needs_no_option() -> None:
    assert rows(("Tiger_cat", "dog"), ("tiger cat", "dog")) == (0, 1)


def test_a_folder_without_names_takes_the_datas_order() -> None:
    assert rows(("x", "y"), ("LABEL_0", "LABEL_1")) == (0, 1)


def test_wordnet_ids_are_in_imagenets_order_when_sorted() -> None:
    assert rows(("n01440764", "n01443537"), ("tench", "goldfish")) == (0, 1)


def test_a_part_of_the_classes_goes_by_name() -> None:
    assert rows(("dog", "ant"), ("ant", "bee", "dog")) == (2, 0)


def test_another_order_is_an_error_that_shows_both() -> None:
    with pytest.raises(LabelsError) as error:
        rows(("ant", "bee", "cat"), ("ant", "cat", "bee"))
    lines = error.value.message.splitlines()
    assert [line.split() for line in lines[2:]] == [["1", "bee", "cat"], ["2", "cat", "bee"]]
    assert "--class-order" in str(error.value.hint)


def test_another_order_is_settled_by_the_option() -> None:
    classes, labels = ("ant", "bee", "cat"), ("ant", "cat", "bee")
    assert rows(classes, labels, "labels") == (0, 2, 1)
    assert rows(classes, labels, "data") == (0, 1, 2)


@pytest.mark.parametrize("order", ["check", "labels"])
def test_an_unknown_class_is_an_error(order: str) -> None:
    with pytest.raises(LabelsError, match="wolf"):
        rows(("ant", "wolf"), ("ant", "bee"), order)


def test_a_name_that_two_labels_share_says_nothing() -> None:
    with pytest.raises(LabelsError, match="crane"):
        rows(("crane",), ("crane", "crane", "ant"), "labels")


@pytest.mark.parametrize("order", ["check", "data"])
def test_another_number_of_classes_is_an_error(order: str) -> None:
    with pytest.raises(LabelsError, match="2 classes, the classifier has 3"):
        rows(("x", "y"), ("LABEL_0", "LABEL_1", "LABEL_2"), order)


def test_many_differences_are_cut_short() -> None:
    names = tuple(f"c{index:03}" for index in range(40))
    with pytest.raises(LabelsError, match="and 28 more rows"):
        rows(names, tuple(reversed(names)))


def test_numbers_are_rows() -> None:
    assert class_rows(source("2", "10", numbered=True), tuple("abcdefghijk"), "check", WHERE).rows == (2, 10)
    with pytest.raises(LabelsError, match="says class 11"):
        class_rows(source("11", numbered=True), tuple("abcdefghijk"), "check", WHERE)
