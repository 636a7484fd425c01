"""Targets that read pictures and sound, as the processors of a folder do."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from byteformer_convert.bundled.feature_extraction_byteformer import ByteFormerFeatureExtractor, encode_wav
from byteformer_convert.bundled.image_processing_byteformer import ByteFormerImageProcessor
from byteformer_convert.errors import FileInputError
from tests.hostile.attempt import Target
from tests.hostile.bounds import MEGABYTE, Bounds
from tests.hostile.commands import written

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "JPEG2000", "PCX", "SGI", "DDS", "AVIF")
MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LA", "YCbCr")


def read_picture(data: bytes, place: Path) -> None:
    """The bytes are a file given to `predict` or found by `evaluate`."""
    _encode(ByteFormerImageProcessor(file_encoding="PNG", size={"shortest_edge": 40}), written(place, "x.png", data))


def read_sound(data: bytes, place: Path) -> None:
    """The same of sound."""
    _encode(ByteFormerFeatureExtractor(file_format="wav"), written(place, "x.wav", data))


def _encode(processor: object, path: Path) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            processor([path])  # type: ignore[operator]
    except (ValueError, OSError, ImportError) as error:  # what `predict` turns into a file's own error
        raise FileInputError(str(error)) from error


@cache
def pictures() -> tuple[bytes, ...]:
    """Small ones of every format and mode that Pillow writes, and one of several frames."""
    found = []
    for name in FORMATS:
        for mode in MODES:
            file = io.BytesIO()
            try:
                Image.new(mode, (5, 4)).save(file, format=name)
            except (OSError, ValueError, KeyError):  # not every format has every mode, nor every Pillow every format
                continue
            found.append(file.getvalue())
    file = io.BytesIO()
    frames = [Image.new("P", (5, 4), shade) for shade in range(3)]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:])
    return (*found, file.getvalue(), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


def picture_seeds() -> Iterator[bytes]:
    """As above."""
    yield from pictures()


def sound_seeds() -> Iterator[bytes]:
    """Each kind of samples, and another rate."""
    waveform = np.linspace(-1, 1, 50, dtype=np.float32)
    for dtype in ("float32", "int32", "int16", "uint8"):
        yield encode_wav(waveform, dtype, 16_000)
    yield encode_wav(waveform, "int16", 8000)


# Pillow's own limit, twice its MAX_IMAGE_PIXELS: an image in four bytes a pixel, and another one in RGB.
_PICTURE = Bounds(memory=256 * MEGABYTE + 2 * 4 * 2 * (Image.MAX_IMAGE_PIXELS or 0), memory_per_byte=64)

MEDIA_TARGETS = (
    Target("picture", read_picture, picture_seeds, bounds=_PICTURE),
    Target("sound", read_sound, sound_seeds, words=(b"RIFF", b"WAVE", b"fmt ", b"data", b"\xff\xff\xff\xff", b"fact")),
)
