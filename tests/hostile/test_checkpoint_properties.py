"""Properties of reading weights, over inputs that hypothesis makes. Profiles: see conftest.py."""

from __future__ import annotations

import io
import pickle
import random
import tempfile
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from byteformer_convert.corenet.checkpoint import load_checkpoint
from byteformer_convert.corenet.pickle_scan import BadPickle, scan
from byteformer_convert.errors import CheckpointError
from tests.hostile.checkpoint_targets import legacy_seeds, saved, zip_seeds
from tests.hostile.hostile_checkpoints import zip_with
from tests.hostile.zip_mutator import mutate_bytes, mutate_zip

SEEDS = [*zip_seeds(), *legacy_seeds()]
NAMES = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=40)
SHAPES = st.lists(st.integers(1, 4), max_size=4)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def load(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint of these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pt"
        path.write_bytes(data)
        return {name: tensor.clone() for name, tensor in load_checkpoint(path).tensors.items()}


@given(st.dictionaries(NAMES, SHAPES, min_size=1, max_size=6), st.booleans(), PLAIN)
def test_every_state_dict_comes_out_as_it_went_in(shapes: dict[str, list[int]], zipped: bool, extra: object) -> None:
    state = {f"x.{name}": torch.rand(shape) for name, shape in shapes.items()}
    found = load(saved({"model_state_dict": state, "extra": extra}, zipped=zipped))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
def test_a_changed_checkpoint_is_read_or_refused(seed: bytes, number: int) -> None:
    try:
        load(mutate_zip(seed, 1 << 16, number))
    except CheckpointError as error:
        assert error.message.strip()  # noqa: PT017 - most inputs raise, not all


@given(st.binary(max_size=300))
def test_any_bytes_for_a_pickle_are_read_or_refused(data: bytes) -> None:
    try:
        load(zip_with(b"\x80\x02" + data + b"."))
    except CheckpointError as error:
        assert error.message.strip()  # noqa: PT017 - most inputs raise, not all


@given(PLAIN, st.integers(0, 2**32))
def test_the_scan_ends_where_the_pickle_ends(content: object, number: int) -> None:
    pickled = pickle.dumps(content, 2)
    stream = io.BytesIO(pickled + b"more")
    assert scan(stream).end == len(pickled)
    try:
        scan(io.BytesIO(mutate_bytes(pickled, random.Random(number))))
    except BadPickle as error:
        assert str(error)  # noqa: PT017 - most inputs raise, not all
