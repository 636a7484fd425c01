"""Files to batches: CoreNet's, unpadded ones, and what a broken file does to its neighbours (nothing)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from byteformer_convert.evaluation import batching
from byteformer_convert.evaluation.batching import EncodedBatch, Encoder, Limits, Plan, encoded_batches
from byteformer_convert.evaluation.items import FileItems
from tests.sample_files import pixels, sample_images

LIMITS = Limits(shortest=4, longest=200)


def raw_items(root: Path, *lengths: int) -> FileItems:
    names = [f"{index}.bin" for index in range(len(lengths))]
    for name, length in zip(names, lengths, strict=True):
        (root / name).write_bytes(bytes(range(length)))
    return FileItems(root, names, [0] * len(names))


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """Takes raw files, with the bundled processor."""
    return use_processor(monkeypatch, raw=True)


def use_processor(monkeypatch: pytest.MonkeyPatch, *, raw: bool = False, seed: int = 0, **fields: Any) -> Encoder:
    from byteformer_convert.bundled.image_processing_byteformer import ByteFormerImageProcessor

    processor = ByteFormerImageProcessor(
        **{"file_encoding": "fHWC", "do_resize": False, "do_center_crop": False} | fields
    )
    monkeypatch.setattr(batching, "_processor", lambda folder, task: processor)
    return Encoder(Path(), "image", raw, seed, LIMITS if raw else Limits(4, None))


def shapes(encoded: EncodedBatch) -> list[tuple[int, ...]]:
    return [group.ids.shape for group in encoded.groups]


def test_batches_are_counted_in_file_order() -> None:
    plan = Plan(100)
    assert [list(plan.indices(batch))[:: len(plan.indices(batch)) - 1] for batch in range(plan.batches)] == [
        [0, 47], [48, 95], [96, 99],
    ]  # fmt: skip
    assert plan.files_in([0, 2]) == 52


def test_a_padded_batch_is_as_long_as_its_longest_file(encoder: Encoder, tmp_path: Path) -> None:
    encoded = encoder.encode(Plan(3), raw_items(tmp_path, 5, 9, 7), 0)
    (group,) = encoded.groups
    assert group.indices == (0, 1, 2)
    assert group.lengths == (5, 9, 7)
    assert group.ids.tolist() == [
        [0, 1, 2, 3, 4, -1, -1, -1, -1],
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
        [0, 1, 2, 3, 4, 5, 6, -1, -1],
    ]


def test_an_unpadded_batch_goes_by_length(encoder: Encoder, tmp_path: Path) -> None:
    encoded = encoder.encode(Plan(4, padded=False), raw_items(tmp_path, 9, 5, 9, 6), 0)
    assert [(group.indices, group.ids.shape[1]) for group in encoded.groups] == [((1,), 5), ((3,), 6), ((0, 2), 9)]
    assert all((group.ids >= 0).all() for group in encoded.groups)


def test_files_of_a_length_that_the_model_does_not_take_are_left_out(encoder: Encoder, tmp_path: Path) -> None:
    items = raw_items(tmp_path, 201, 3, 6)
    padded, unpadded = (encoder.encode(Plan(3, padded=padded), items, 0) for padded in (True, False))
    assert [index for index, _ in padded.broken] == [0]  # 3 bytes padded to 6 make a token, as in CoreNet
    assert shapes(padded) == [(2, 6)]
    assert unpadded.broken == (
        (0, "201 bytes; the model takes at most 200"), (1, "3 bytes; the model needs at least 4"),
    )  # fmt: skip
    assert shapes(unpadded) == [(1, 6)]


def test_a_broken_file_is_named_with_its_reason_and_the_others_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = use_processor(monkeypatch)
    for index in range(3):
        Image.fromarray(pixels(20, 10 + index, 3, index)).save(tmp_path / f"{index}.png")
    items = FileItems(tmp_path, ["0.png", "1.png", "missing.png", "2.png", "empty.png"], [0] * 5)
    (tmp_path / "empty.png").touch()
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:-40])

    encoded = encoder.encode(Plan(5), items, 0)

    reasons = dict(encoded.broken)
    assert list(reasons) == [1, 2, 4]
    assert reasons[2].startswith("no such file")
    assert reasons[4] == "the file is empty."
    (group,) = encoded.groups
    assert group.indices == (0, 3)
    assert np.array_equal(group.ids[1], pixels(20, 12, 3, 2).reshape(-1))


def test_a_batch_of_broken_files_has_no_group(encoder: Encoder, tmp_path: Path) -> None:
    encoded = encoder.encode(Plan(2), FileItems(tmp_path, ["x", "y"], [0, 0]), 0)
    assert encoded.groups == ()
    assert len(encoded.broken) == 2


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ESTALE, "Stale file handle"), OSError(errno.EMFILE, "Too many open files")]
)
def test_what_is_missing_on_the_machine_is_no_broken_file(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = use_processor(monkeypatch)

    def processor(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(batching, "_processor", lambda folder, task: processor)
    with pytest.raises(type(error)):
        encoder.encode(Plan(1), raw_items(tmp_path, 9), 0)


def test_a_sound_that_needs_torchaudio_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encoder = use_processor(monkeypatch)

    def processor(*arguments: Any, **options: Any) -> None:
        raise ImportError("44100 Hz; `pip install torchaudio`")

    monkeypatch.setattr(batching, "_processor", lambda folder, task: processor)
    assert "torchaudio" in encoder.encode(Plan(1), raw_items(tmp_path, 9), 0).broken[0][1]


@pytest.mark.parametrize("fields", [{"noise_range": [-5, 5]}, {"shuffle_mode": "window_shuffle"}], ids=str)
def test_random_steps_follow_the_seed_and_the_batch_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: dict[str, Any]
) -> None:
    for index in range(4):
        Image.fromarray(pixels(30, 40, 3, 1)).save(tmp_path / f"{index}.png")
    items = FileItems(tmp_path, [f"{index}.png" for index in range(4)], [0] * 4)

    def ids(seed: int, batch: int) -> np.ndarray:
        encoder = use_processor(monkeypatch, seed=seed, **fields)
        return encoder.encode(Plan(4, batch_size=2), items, batch).groups[0].ids

    assert np.array_equal(ids(0, 1), ids(0, 1))
    assert not np.array_equal(ids(0, 1), ids(0, 0))
    assert not np.array_equal(ids(0, 1), ids(7, 1))


@pytest.mark.parametrize("mode", sample_images())
def test_every_kind_of_image_is_encoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str) -> None:
    image = sample_images()[mode]
    suffix = ".tif" if image.mode in ("CMYK", "F", "I", "YCbCr") else ".png"
    image.save(tmp_path / f"x{suffix}")
    if mode == "YCbCr":
        try:
            Image.open(tmp_path / f"x{suffix}").load()
        except OSError:
            pytest.skip("Pillow before 13 cannot read a TIFF file in YCbCr that it wrote itself")
    fields = {"do_resize": True, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    encoded = use_processor(monkeypatch, **fields).encode(Plan(1), FileItems(tmp_path, [f"x{suffix}"], [0]), 0)
    assert encoded.broken == ()
    assert shapes(encoded) == [(1, 224 * 224 * 3)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_the_order_in_which_they_were_asked_for(encoder: Encoder, tmp_path: Path, workers: int) -> None:
    items = raw_items(tmp_path, *range(5, 17))
    batches = list(encoded_batches(encoder, Plan(12, batch_size=3), items, [3, 0, 2], workers))
    assert [encoded.batch for encoded in batches] == [3, 0, 2]
    assert [encoded.groups[0].lengths for encoded in batches] == [(14, 15, 16), (5, 6, 7), (11, 12, 13)]
