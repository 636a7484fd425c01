# Copied as it stands into every converted folder: it runs on machines where only transformers is installed.
"""Images to the bytes that ByteFormer reads. Paper: Horton et al., Bytes Are All You Need, arXiv 2306.00238."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from transformers import BaseImageProcessor, BatchFeature

from .byte_batch_byteformer import BYTES_TYPES, PATH_TYPES, file_stream, pad_to_batch, read_file, source_name

FILE_ENCODINGS = ("fHWC", "fCHW", "TIFF", "PNG", "JPEG")
SHUFFLE_MODES = ("reverse", "cyclic_half_length", "stride", "window_shuffle", "random_shuffle")
# CoreNet fixes the kept positions and the byte permutation by this seed of torch's CPU generator.
FIXED_SEED = 2147483647
IMAGE_CHANNELS = (1, 3, 4)
# Pillow decodes these by starting a program or by asking the system; nothing that anybody sends is to do so.
STARTING_PROGRAMS = ("EPS", "WMF")


class ByteFormerImageProcessor(BaseImageProcessor):
    """Encodes images as the files that a ByteFormer was trained on, and gives their bytes.

    The steps are those of CoreNet's evaluation, byte for byte: RGB, resize, centre crop, encode, shuffle, mask, noise,
    permute, pad. A folder's own values are in its preprocessor_config.json. What may be None is None by default:
    transformers leaves None out when it saves.

    Args:
        do_resize: Resize before the crop.
        size: `{"shortest_edge": n}`, which keeps the aspect ratio, or `{"height": h, "width": w}`.
        resample: Pillow's resampling filter, as in `PIL.Image.Resampling` (3 is bicubic).
        do_center_crop: Cut out the middle. A smaller image gets black borders.
        crop_size: `{"height": h, "width": w}`.
        file_encoding: "fHWC" (raw pixels), "fCHW" (raw planes), "TIFF", "PNG" or "JPEG". None where the checkpoint's
            options name no encoding: it then takes file bytes only.
        jpeg_quality: Quality of "JPEG".
        shuffle_mode: None, "reverse", "cyclic_half_length", "stride", "window_shuffle" or "random_shuffle".
        shuffle_stride: Step of "stride".
        shuffle_window_size: Bytes in a window of "window_shuffle".
        keep_fraction: None, or the share of the positions that is kept; the same positions for every file of a length.
        noise_range: None, or `[lowest, highest]` of the whole numbers added to each byte, modulo 256. Random at
            evaluation too.
        permute_bytes: Replace each byte value by another, always the same one.
        padding_value: What stands behind the end of the shorter files of a batch.
    """

    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        do_resize: bool = True,
        size: dict[str, int] | None = None,
        resample: int = 3,
        do_center_crop: bool = True,
        crop_size: dict[str, int] | None = None,
        file_encoding: str | None = None,
        jpeg_quality: int = 100,
        shuffle_mode: str | None = None,
        shuffle_stride: int = 1024,
        shuffle_window_size: int = 1024,
        keep_fraction: float | None = None,
        noise_range: Sequence[int] | None = None,
        permute_bytes: bool = False,
        padding_value: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if file_encoding is not None and file_encoding not in FILE_ENCODINGS:
            raise ValueError(f"file_encoding is {file_encoding!r}; ByteFormer knows {', '.join(FILE_ENCODINGS)}.")
        if shuffle_mode is not None and shuffle_mode not in SHUFFLE_MODES:
            raise ValueError(f"shuffle_mode is {shuffle_mode!r}; ByteFormer knows {', '.join(SHUFFLE_MODES)}.")
        self.do_resize = do_resize
        self.size = size if size is not None else {"shortest_edge": 256}
        self.resample = resample
        self.do_center_crop = do_center_crop
        self.crop_size = crop_size if crop_size is not None else {"height": 224, "width": 224}
        self.file_encoding = file_encoding
        self.jpeg_quality = jpeg_quality
        self.shuffle_mode = shuffle_mode
        self.shuffle_stride = shuffle_stride
        self.shuffle_window_size = shuffle_window_size
        self.keep_fraction = keep_fraction
        self.noise_range = noise_range
        self.permute_bytes = permute_bytes
        self.padding_value = padding_value

    def preprocess(
        self,
        images: Any,
        raw: bool = False,
        input_data_format: str | None = None,
        generator: torch.Generator | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Images or files to a batch of byte values. `processor(...)` calls this.

        Args:
            images: One of these, or a list of them:
                a PIL image, a path, a uint8 array or tensor (height, width), (height, width, channels) or
                (channels, height, width) with 1, 3 or 4 channels: all the steps above;
                a bytes object: a file that is already in the right encoding, taken as it is.
                An array of four dimensions is a batch of images.
            raw: Take paths as bytes objects are taken: the file's own bytes, no step but padding.
            input_data_format: "channels_first" or "channels_last", where an array's shape does not tell.
            generator: Source of the random steps (window_shuffle, random_shuffle, noise); None is torch's global one,
                which CoreNet uses.
            return_tensors: "pt", "np", or None for lists of arrays.

        Returns:
            `input_ids` and `attention_mask`, both (images, bytes of the longest) int64; padding is `padding_value` in
            the one and 0 in the other.

        Raises:
            ValueError: An input cannot be used; the message names it.
            OSError: A file cannot be read.
        """
        files, encoded = {}, {}
        for index, source in enumerate(_as_list(images)):
            name = source_name(source, index)
            if raw or isinstance(source, BYTES_TYPES):
                files[index] = file_stream(source, name)
            else:
                encoded[index] = self._encode(self._fit(_open_image(source, name, input_data_format), name), name)
        scrambled = zip(encoded, self._scramble(list(encoded.values()), generator), strict=True)
        by_index = files | dict(scrambled)
        streams = [by_index[index] for index in sorted(by_index)]
        return pad_to_batch(streams, self.padding_value, return_tensors)

    def pad(self, features: Sequence[dict[str, Any]], return_tensors: str | None = "pt") -> BatchFeature:
        """Collates single examples; give it to `Trainer` as `data_collator=processor.pad`.

        Args:
            features: Dicts with `input_ids` (bytes,), and whatever else has one value each, as `labels` (`label` is
                renamed so). A mask is made anew.
            return_tensors: "pt", "np" or None.
        """
        batch = pad_to_batch([np.asarray(f["input_ids"]).reshape(-1) for f in features], self.padding_value)
        for key in features[0]:
            if key not in self.model_input_names:
                batch["labels" if key == "label" else key] = np.asarray([f[key] for f in features])
        return batch.convert_to_tensors(return_tensors)

    def _fit(self, image: Image.Image, name: str) -> Image.Image:
        """Resize, then centre crop."""
        if self.do_resize:
            width, height = _resized(*image.size, self.size)
            if width * height > 2 * (Image.MAX_IMAGE_PIXELS or float("inf")):
                raise ValueError(
                    f"{name}: {image.width} x {image.height} pixels would become {width} x {height}; crop it first."
                )
            # In two passes: Pillow 13 turns their order for some tall images, and with it the last bit of pixels.
            image = image.resize((width, image.height), resample=self.resample)
            image = image.resize((width, height), resample=self.resample)
        if self.do_center_crop:
            left = (image.width - self.crop_size["width"]) // 2
            top = (image.height - self.crop_size["height"]) // 2
            # Pillow fills what lies outside the image with black, as CoreNet's crop does through it.
            image = image.crop((left, top, left + self.crop_size["width"], top + self.crop_size["height"]))
        return image

    def _encode(self, image: Image.Image, name: str) -> np.ndarray:
        """(height, width, 3) pixels to the bytes of a file: (bytes,) uint8."""
        pixels = np.asarray(image)
        if self.file_encoding == "fHWC":
            return pixels.reshape(-1)
        if self.file_encoding == "fCHW":
            return pixels.transpose(2, 0, 1).reshape(-1)
        if self.file_encoding is None:
            raise ValueError(
                f"{name}: this checkpoint's options do not say how images are encoded. Give file bytes (bytes objects, "
                "or raw=True with paths), or set processor.file_encoding to " + ", ".join(FILE_ENCODINGS) + "."
            )
        options = {"PNG": {"compress_level": 0}, "JPEG": {"quality": self.jpeg_quality}}.get(self.file_encoding, {})
        file = io.BytesIO()
        # From bare pixels: what the opened file says beside them (comment, resolution, profile) must not get in.
        Image.fromarray(pixels).save(file, format=self.file_encoding, **options)
        return np.frombuffer(file.getvalue(), dtype=np.uint8)

    def _scramble(self, streams: list[np.ndarray], generator: torch.Generator | None) -> list[np.ndarray]:
        """Steps of CoreNet's `byteformer_image_collate_fn` between encoding and padding, each over the whole batch.

        A random step draws what CoreNet's draws, in its order: equal seeds give equal bytes.
        """
        if self.shuffle_mode is not None:
            streams = self._shuffle(streams, generator)
        if self.keep_fraction is not None:
            streams = [stream[kept_positions(len(stream), self.keep_fraction)] for stream in streams]
        if self.noise_range is not None:
            lowest, highest = self.noise_range
            streams = [_add_noise(stream, lowest, highest, generator) for stream in streams]
        if self.permute_bytes:
            streams = [_permute(stream) for stream in streams]
        return streams

    def _shuffle(self, streams: list[np.ndarray], generator: torch.Generator | None) -> list[np.ndarray]:
        if self.shuffle_mode == "reverse":
            return [stream[::-1] for stream in streams]
        if self.shuffle_mode == "cyclic_half_length":
            return [np.roll(stream, len(stream) // 2) for stream in streams]
        if self.shuffle_mode == "stride":
            return [_by_stride(stream, self.shuffle_stride) for stream in streams]
        # CoreNet draws the window's permutation once a batch; for random_shuffle, too, where it is not used.
        window = torch.randperm(self.shuffle_window_size, generator=generator).numpy()
        if self.shuffle_mode == "window_shuffle":
            return [_by_window(stream, window) for stream in streams]
        return [stream[torch.randperm(len(stream), generator=generator).numpy()] for stream in streams]


def _as_list(images: Any) -> list[Any]:
    if isinstance(images, (list, tuple)):
        return list(images)
    if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4:
        return list(images)
    return [images]


def _open_image(source: Any, name: str, input_data_format: str | None) -> Image.Image:
    """Any kind of image to an RGB image of PIL, without a turn by its EXIF orientation: CoreNet makes none."""
    if isinstance(source, PATH_TYPES):
        return _to_rgb(read_file(source), name)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray):
        source = _array_to_image(source, name, input_data_format)
    if not isinstance(source, Image.Image):
        raise ValueError(
            f"{name}: {type(source).__name__} is not an image; give a PIL image, a path, a uint8 array or bytes."
        )
    return _to_rgb(source, name)


def _to_rgb(source: bytes | Image.Image, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(source)) if isinstance(source, bytes) else source
        if image.format in STARTING_PROGRAMS:
            raise ValueError(f"Pillow starts another program for {image.format}")
        image = image.convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name}: not an image that Pillow can open. If its own bytes are what the model reads, pass raw=True."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # each of Pillow's decoders has its own, and some have whatever Python raises
        raise ValueError(f"{name}: the image cannot be decoded ({error}); it may be cut short.") from error
    if not image.width or not image.height:
        raise ValueError(f"{name}: the image has no pixels.")
    return image


def _array_to_image(array: np.ndarray, name: str, input_data_format: str | None) -> Image.Image:
    if array.dtype != np.uint8:
        raise ValueError(
            f"{name}: pixels are {array.dtype}; give uint8 from 0 to 255, as in "
            "(image * 255).round().astype('uint8') for an image from 0 to 1."
        )
    if array.ndim == 3 and _channels_first(array.shape, name, input_data_format):
        array = array.transpose(1, 2, 0)
    if not array.size or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in IMAGE_CHANNELS):
        raise ValueError(f"{name}: an array of shape {array.shape} is not an image with 1, 3 or 4 channels.")
    if array.shape[2:] == (1,):
        array = array[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(array))


def _channels_first(shape: tuple[int, ...], name: str, input_data_format: str | None) -> bool:
    """Which axis holds the channels. Guessing would give other bytes, so a shape that fits both ways is refused."""
    if input_data_format is not None:
        # transformers' ChannelDimension is not a str on every Python.
        return str(getattr(input_data_format, "value", input_data_format)).endswith("first")
    first, last = shape[0] in IMAGE_CHANNELS, shape[2] in IMAGE_CHANNELS
    if first and last:
        raise ValueError(
            f"{name}: an array of shape {shape} could have its channels first or last; "
            'pass input_data_format="channels_first" or "channels_last".'
        )
    return first


def _resized(width: int, height: int, size: dict[str, int]) -> tuple[int, int]:
    """(width, height) after the resize; the longer side is cut to a whole number, as CoreNet's `_resize_fn` does."""
    if "shortest_edge" not in size:
        return size["width"], size["height"]
    edge = size["shortest_edge"]
    if min(width, height) == edge:
        return width, height
    if width < height:
        return edge, int(edge * height / width)
    return int(edge * width / height), edge


def _by_stride(stream: np.ndarray, stride: int) -> np.ndarray:
    return np.concatenate([stream[start::stride] for start in range(stride)])


def _by_window(stream: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same permutation within each whole window; what is left over stays."""
    whole = len(stream) // len(order) * len(order)
    windows = stream[:whole].reshape(-1, len(order))
    return np.concatenate([windows[:, order].reshape(-1), stream[whole:]])


def _add_noise(stream: np.ndarray, lowest: int, highest: int, generator: torch.Generator | None) -> np.ndarray:
    noise = torch.randint(lowest, highest + 1, (len(stream),), dtype=torch.int32, generator=generator).numpy()
    return ((stream + noise) & 255).astype(np.uint8)


def _permute(stream: np.ndarray) -> np.ndarray:
    return np.frombuffer(stream.tobytes().translate(byte_permutation()), dtype=np.uint8)


@lru_cache(maxsize=8)
def kept_positions(length: int, fraction: float) -> np.ndarray:
    """The positions that a mask keeps of a file of this length, in file order: (int(fraction * length),) int64."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(FIXED_SEED))
    positions = np.sort(order[: int(fraction * length)].numpy())
    positions.flags.writeable = False
    return positions


@lru_cache(maxsize=1)
def byte_permutation() -> bytes:
    """What each byte value becomes: 256 of them."""
    order = torch.randperm(256, generator=torch.Generator().manual_seed(FIXED_SEED))
    return bytes(order.tolist())
