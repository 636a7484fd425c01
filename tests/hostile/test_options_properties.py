"""Properties of reading options, over inputs that hypothesis makes. Profiles: see conftest.py."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from byteformer_convert.corenet.flat_yaml import flatten, parse_flat_yaml
from byteformer_convert.corenet.option_table import ALL_OPTIONS, BYTEFORMER
from byteformer_convert.corenet.options import CoreNetOptions, options_from_mapping
from byteformer_convert.errors import ByteFormerConvertError, OptionsError
from byteformer_convert.mapping.config import config_json
from byteformer_convert.mapping.processor import processor_fields

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
VALUES = SCALARS | st.lists(SCALARS, max_size=13) | st.dictionaries(st.text(max_size=4), SCALARS, max_size=3)
OPTIONS = st.dictionaries(st.sampled_from(sorted(ALL_OPTIONS)) | st.text(max_size=12), VALUES, max_size=12)
KEYS = st.text("abc", min_size=1, max_size=3)
TREES = st.recursive(
    st.integers() | st.text(st.characters(categories=("L", "N")), max_size=8) | st.booleans(),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=4),
    max_leaves=20,
).filter(lambda tree: isinstance(tree, dict))
NAME = {"model.classification.name": "byteformer", "dataset.category": "classification"}


def used(flat: dict[str, Any], overrides: tuple[str, ...] = ()) -> CoreNetOptions | None:
    """The options where they can be used to the end, None where they are refused."""
    with contextlib.suppress(ByteFormerConvertError):
        options = options_from_mapping(flat, source="x.yaml", overrides=overrides)
        json.dumps([processor_fields(options), config_json(options, (), "float32")], allow_nan=False)
        return options
    return None


@given(OPTIONS)
def test_any_options_are_used_or_refused(flat: dict[str, Any]) -> None:
    used(flat)
    used({**flat, **NAME})


@given(st.sampled_from(sorted(ALL_OPTIONS)), st.text(max_size=30))
def test_any_override_is_used_or_refused(key: str, text: str) -> None:
    used(NAME, (f"{key}={text}",))
    used(NAME, (text,))


@given(TREES)
def test_a_yaml_means_the_same_as_the_dict_it_was_made_of(tree: dict[str, Any]) -> None:
    assert parse_flat_yaml(yaml.safe_dump(tree, allow_unicode=True), source="x.yaml").values == flatten(tree)


@given(st.text(max_size=200))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    try:
        parse_flat_yaml(text, source="x.yaml")
    except OptionsError as error:
        assert error.message.strip()  # noqa: PT017 - most inputs raise, not all


@given(st.integers(1, 64), st.integers(2, 32), st.integers(1, 10**6))
def test_good_numbers_come_out_as_they_went_in(window: int, kernel: int, classes: int) -> None:
    flat = {BYTEFORMER + "window_sizes": [window], BYTEFORMER + "conv_kernel_size": kernel}
    options = used({**NAME, **flat, "model.classification.n_classes": classes})
    assert options is not None
    assert (options.window_sizes, options.conv_kernel_size, options.n_classes) == ((window,) * 12, kernel, classes)
