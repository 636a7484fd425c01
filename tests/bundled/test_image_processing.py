"""The image processor against the bytes that CoreNet encoded, and against its steps spelled out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from byteformer_convert.bundled.image_processing_byteformer import ByteFormerImageProcessor
from byteformer_convert.corenet.options import load_options, options_from_mapping
from byteformer_convert.mapping.processor import processor_fields
from tests.sample_files import pixels, sample_images

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[1] / "golden" / "processors"
PHOTOGRAPHS = {"china": GOLDEN / "china.jpg", "flower_gray": GOLDEN / "flower_gray.png"}
ENCODED = json.loads((GOLDEN / "encoded_images.json").read_text())["configs"]
GENERATED = json.loads((GOLDEN / "generated_images.json").read_text())["images"]
SHUFFLED = ["reverse", "cyclic_half_length", "stride", "window_shuffle", "random_shuffle"]


def ids_of(processor: ByteFormerImageProcessor, images: Any, **kwargs: Any) -> np.ndarray:
    """The ids of one input: (bytes,)."""
    return processor(images, return_tensors="np", **kwargs)["input_ids"][0]


def sha256_of_ids(ids: np.ndarray) -> str:
    return hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest()


def processor_for(options: dict[str, Any]) -> ByteFormerImageProcessor:
    corenet = options_from_mapping({"model.classification.name": "byteformer", **options}, source="c.yaml")
    return ByteFormerImageProcessor(**processor_fields(corenet))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestEqualToCoreNet:
    @pytest.mark.parametrize("photograph", PHOTOGRAPHS)
    @pytest.mark.parametrize("config", ENCODED)
    def test_photographs_under_every_published_yaml(self, config: str, photograph: str) -> None:
        want = ENCODED[config]["images"][photograph]
        ids = ids_of(processor_for(ENCODED[config]["options"]), PHOTOGRAPHS[photograph])
        assert len(ids) == want["n"]
        if not want.get("random"):
            assert sha256_of_ids(ids) == want["sha256"]

    def test_the_published_yamls_themselves(self, shared: Path) -> None:
        cases = json.loads((shared / "goldens" / "images" / "encoded.json").read_text())["cases"]
        different = []
        for case in cases:
            options = load_options(shared / "corenet_configs" / case["config"])
            ids = ids_of(ByteFormerImageProcessor(**processor_fields(options)), PHOTOGRAPHS[case["image"]])
            if len(ids) != case["n"] or (not case["random"] and sha256_of_ids(ids) != case["sha256"]):
                different.append((case["config"], case["image"]))
        assert len(cases) == 60
        assert not different

    @pytest.mark.parametrize("encoding", ["fHWC", "JPEG"])
    @pytest.mark.parametrize("name", GENERATED)
    def test_every_mode_and_shape(self, name: str, encoding: str) -> None:
        ids = ids_of(ByteFormerImageProcessor(file_encoding=encoding, jpeg_quality=60), sample_images()[name])
        assert hashlib.sha256(ids.astype(np.uint8).tobytes()).hexdigest() == GENERATED[name][encoding]

    def test_every_sample_image_has_its_golden(self) -> None:
        assert list(GENERATED) == list(sample_images())

    @pytest.mark.parametrize("filter_name", ["nearest", "bilinear", "cubic", "box", "hamming", "lanczos"])
    @pytest.mark.parametrize("size", [[100], [120, 90], 300])
    def test_other_sizes_and_filters(self, size: Any, filter_name: str) -> None:
        image = Image.fromarray(pixels(200, 333, 3, 1))
        options = {
            "image_augmentation.resize.enable": True,
            "image_augmentation.resize.size": size,
            "image_augmentation.resize.interpolation": filter_name,
            "image_augmentation.center_crop.enable": True,
            "image_augmentation.center_crop.size": [80, 70],
            "image_augmentation.pil_save.enable": True,
            "image_augmentation.pil_save.file_encoding": "fHWC",
        }
        # Options say height first, Pillow takes width first.
        width, height = {"[100]": (166, 100), "[120, 90]": (90, 120), "300": (499, 300)}[str(size)]
        filters = {"cubic": Image.Resampling.BICUBIC} | {f.name.lower(): f for f in Image.Resampling}
        chosen = filters[filter_name]
        resized = np.asarray(image.resize((width, image.height), chosen).resize((width, height), chosen))
        top, left = (height - 80) // 2, (width - 70) // 2
        want = resized[top : top + 80, left : left + 70].reshape(-1)
        np.testing.assert_array_equal(ids_of(processor_for(options), image), want)


def corenet_steps(streams: list[torch.Tensor], processor: ByteFormerImageProcessor) -> list[torch.Tensor]:
    """Shuffle, mask, noise and permutation as CoreNet's collate function runs them, one plain loop a step."""
    window = torch.randperm(processor.shuffle_window_size)
    w = len(window)
    if processor.shuffle_mode == "window_shuffle":
        for i, x in enumerate(streams):
            whole = len(x) // w
            streams[i] = torch.cat([*(x[j * w : (j + 1) * w][window] for j in range(whole)), x[whole * w :]])
    elif processor.shuffle_mode == "random_shuffle":
        streams = [x[torch.randperm(len(x))] for x in streams]
    for i, x in enumerate(streams):
        keep = torch.zeros(len(x), dtype=torch.bool)
        keep[torch.randperm(len(x), generator=seeded(2147483647))[: int(processor.keep_fraction * len(x))]] = True
        streams[i] = x[keep]
    low, high = processor.noise_range
    streams = [(x + torch.randint_like(x, low, high + 1)) % 256 for x in streams]
    return [torch.randperm(256, generator=seeded(2147483647))[x] for x in streams]


class TestRandomSteps:
    @pytest.mark.parametrize("mode", ["window_shuffle", "random_shuffle"])
    def test_equal_seeds_give_what_corenet_draws_for_a_batch(self, mode: str) -> None:
        images = [sample_images()["RGB"], sample_images()["LA"]]
        plain = ByteFormerImageProcessor(file_encoding="JPEG", jpeg_quality=60)
        processor = ByteFormerImageProcessor(
            file_encoding="JPEG",
            jpeg_quality=60,
            shuffle_mode=mode,
            shuffle_window_size=100,
            keep_fraction=0.3,
            noise_range=[-20, 20],
            permute_bytes=True,
        )
        streams = [torch.from_numpy(ids_of(plain, image)).int() for image in images]
        torch.manual_seed(7)
        want = corenet_steps(streams, processor)
        torch.manual_seed(7)
        got = processor(images, return_tensors="pt")
        for row, mask, stream in zip(got["input_ids"], got["attention_mask"], want, strict=True):
            assert torch.equal(row[mask.bool()], stream.long())
        assert torch.equal(processor(images, generator=seeded(7), return_tensors="pt")["input_ids"], got["input_ids"])

    def test_a_generator_of_ones_own_leaves_torchs_alone(self) -> None:
        processor = ByteFormerImageProcessor(file_encoding="fHWC", shuffle_mode="random_shuffle", noise_range=[0, 255])
        before = torch.get_rng_state()
        first, second = (ids_of(processor, sample_images()["L"], generator=seeded(3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("mode", SHUFFLED)
    def test_a_shuffle_only_reorders(self, mode: str) -> None:
        image = sample_images()["RGBA"]
        plain = ids_of(ByteFormerImageProcessor(file_encoding="JPEG"), image)
        shuffled = ids_of(ByteFormerImageProcessor(file_encoding="JPEG", shuffle_mode=mode), image)
        assert not np.array_equal(plain, shuffled)
        np.testing.assert_array_equal(np.sort(plain), np.sort(shuffled))


class TestInputs:
    @pytest.mark.parametrize(
        "convert",
        [
            np.asarray,
            lambda image: np.asarray(image).transpose(2, 0, 1),
            lambda image: torch.from_numpy(np.array(image)),
            lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1),
            lambda image: [image],
            lambda image: np.asarray(image)[None],
        ],
        ids=["HWC", "CHW", "HWC tensor", "CHW tensor", "list", "batch"],
    )
    def test_an_array_is_the_image_that_it_holds(self, convert: Callable[[Image.Image], Any]) -> None:
        processor, image = ByteFormerImageProcessor(file_encoding="fHWC"), sample_images()["RGB"]
        np.testing.assert_array_equal(ids_of(processor, convert(image)), ids_of(processor, image))

    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGBA", 4)])
    def test_one_and_four_channels(self, mode: str, channels: int) -> None:
        processor = ByteFormerImageProcessor(file_encoding="fHWC")
        array = pixels(230, 250, channels, 5)
        image = Image.fromarray(array[:, :, 0] if channels == 1 else array)
        assert image.mode == mode
        np.testing.assert_array_equal(ids_of(processor, array), ids_of(processor, image))

    def test_a_path_is_the_image_in_it_whatever_type_it_has(self) -> None:
        processor, path = ByteFormerImageProcessor(file_encoding="fHWC"), PHOTOGRAPHS["china"]
        want = ids_of(processor, Image.open(path))
        np.testing.assert_array_equal(ids_of(processor, path), want)
        np.testing.assert_array_equal(ids_of(processor, str(path)), want)

    def test_what_the_file_says_beside_its_pixels_does_not_get_into_the_encoding(self, tmp_path: Path) -> None:
        image = sample_images()["RGB"]
        image.save(tmp_path / "a.png", dpi=(300, 300), icc_profile=b"profile")
        image.info["comment"] = b"a comment"
        for encoding in ("JPEG", "TIFF", "PNG"):
            processor = ByteFormerImageProcessor(file_encoding=encoding)
            bare = ids_of(processor, np.asarray(image))
            np.testing.assert_array_equal(ids_of(processor, tmp_path / "a.png"), bare)
            np.testing.assert_array_equal(ids_of(processor, image), bare)

    def test_bytes_are_a_file_as_it_is(self) -> None:
        processor = ByteFormerImageProcessor(file_encoding="JPEG", shuffle_mode="reverse", permute_bytes=True)
        path = PHOTOGRAPHS["china"]
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        np.testing.assert_array_equal(ids_of(processor, path.read_bytes()), content)
        np.testing.assert_array_equal(ids_of(processor, path, raw=True), content)
        assert len(ids_of(processor, path)) != len(content)

    def test_files_and_images_keep_their_order_in_a_batch(self) -> None:
        processor = ByteFormerImageProcessor(file_encoding="JPEG")
        image = sample_images()["RGB"]
        batch = processor([b"one", image, b"three33"], return_tensors="np")
        lengths = batch["attention_mask"].sum(axis=1).tolist()
        assert lengths == [3, len(ids_of(processor, image)), 7]
        assert bytes(batch["input_ids"][2][:7].astype(np.uint8)) == b"three33"

    def test_a_batch_is_padded_on_the_right_and_the_mask_says_so(self) -> None:
        batch = ByteFormerImageProcessor(padding_value=-1)([b"abc", b"a"], return_tensors="pt")
        assert batch["input_ids"].tolist() == [[97, 98, 99], [97, -1, -1]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
        assert batch["input_ids"].dtype == torch.int64
        assert ByteFormerImageProcessor(padding_value=256)([b"abc", b"a"])["input_ids"][1].tolist() == [97, 256, 256]

    def test_pad_collates_examples_for_trainer(self) -> None:
        examples = [{"input_ids": [1, 2, 3], "label": 4}, {"input_ids": torch.tensor([9]), "label": 5}]
        batch = ByteFormerImageProcessor().pad(examples)
        assert batch["input_ids"].tolist() == [[1, 2, 3], [9, -1, -1]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
        assert batch["labels"].tolist() == [4, 5]


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "the file is empty"),
            (b"no image at all", "not an image that Pillow can open.*raw=True"),
            (PHOTOGRAPHS["china"].read_bytes()[:50_000], "cannot be decoded.*truncated"),
            (PHOTOGRAPHS["flower_gray"].read_bytes()[:50_000], "cannot be decoded.*truncated"),
        ],
        ids=["empty", "text", "cut JPEG", "cut PNG"],
    )
    def test_a_broken_file(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "broken.jpg"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"broken.jpg: {'the image ' if 'decoded' in message else ''}{message}"):
            ByteFormerImageProcessor(file_encoding="JPEG")(path)

    def test_a_folder_and_a_missing_file(self, tmp_path: Path) -> None:
        processor = ByteFormerImageProcessor(file_encoding="JPEG")
        for raw in (False, True):
            with pytest.raises(IsADirectoryError, match="is a folder"):
                processor(tmp_path, raw=raw)
            with pytest.raises(FileNotFoundError, match=r"none.jpg: no such file"):
                processor([str(tmp_path / "none.jpg")], raw=raw)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((9, 9, 3), np.float32), "input 1: pixels are float32; give uint8"),
            (np.zeros((3, 9, 3), np.uint8), "could have its channels first or last"),
            (np.zeros((9, 9, 2), np.uint8), "is not an image"),
            (np.zeros(9, np.uint8), "is not an image"),
            (np.zeros((0, 9, 3), np.uint8), "is not an image"),
            (Image.new("RGB", (0, 5)), "no pixels"),
            (7, "int is not an image"),
            (None, "NoneType is not an image"),
            (b"", "the bytes are empty"),
            (Image.new("L", (1, 60_000)), "would become 256 x 15360000; crop it first"),
        ],
    )
    def test_the_message_says_what_is_wrong_with_which_input(self, image: Any, message: str) -> None:
        with pytest.raises(ValueError, match=rf"^input 1: .*{message.removeprefix('input 1: ')}"):
            ByteFormerImageProcessor(file_encoding="JPEG")([sample_images()["L"], image])

    def test_input_data_format_decides_where_the_shape_does_not(self) -> None:
        processor, array = ByteFormerImageProcessor(file_encoding="fHWC"), pixels(3, 9, 3, 1)
        last = ids_of(processor, array, input_data_format="channels_last")
        first = ids_of(processor, array, input_data_format="channels_first")
        np.testing.assert_array_equal(last, ids_of(processor, Image.fromarray(array)))
        np.testing.assert_array_equal(first, ids_of(processor, Image.fromarray(array.transpose(1, 2, 0).copy())))

    def test_no_inputs(self) -> None:
        with pytest.raises(ValueError, match="nothing to encode"):
            ByteFormerImageProcessor()([])

    def test_raw_arrays(self) -> None:
        with pytest.raises(ValueError, match="raw=True takes paths and bytes objects, not ndarray"):
            ByteFormerImageProcessor()(np.zeros(9, np.uint8), raw=True)

    def test_images_where_the_options_name_no_encoding(self) -> None:
        processor = ByteFormerImageProcessor()
        with pytest.raises(ValueError, match="options do not say how images are encoded"):
            processor(sample_images()["L"])
        assert ids_of(processor, b"bytes").tolist() == list(b"bytes")

    def test_misspelt_fields(self) -> None:
        with pytest.raises(ValueError, match="file_encoding is 'jpg'; ByteFormer knows fHWC"):
            ByteFormerImageProcessor(file_encoding="jpg")
        with pytest.raises(ValueError, match="shuffle_mode is 'flip'; ByteFormer knows reverse"):
            ByteFormerImageProcessor(shuffle_mode="flip")


@pytest.mark.parametrize("options", [{}, ENCODED["imagenet_obfuscation/width_range=[-20,20].yaml"]["options"]])
def test_saving_and_loading_changes_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    processor = processor_for(options)
    processor.save_pretrained(tmp_path)
    loaded = ByteFormerImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    assert loaded.auto_map == {"AutoImageProcessor": "image_processing_byteformer.ByteFormerImageProcessor"}
