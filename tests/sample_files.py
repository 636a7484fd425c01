"""Images and sounds for the processors' tests, the same on every machine: whole numbers all the way."""

from __future__ import annotations

import numpy as np
from PIL import Image

SAMPLES = 16_000


def pixels(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Gradients, products and bit patterns: (height, width, channels) uint8."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    return ((x * 7 + y * 13 + c * 61 + x * y // (17 + seed) + (x ^ y) * seed) % 256).astype(np.uint8)


def _merged(mode: str, height: int, width: int, seed: int) -> Image.Image:
    planes = pixels(height, width, len(mode.replace("YCbCr", "YCC")), seed)
    return Image.merge(mode, [Image.fromarray(plane.copy()) for plane in np.moveaxis(planes, 2, 0)])


def _palette(transparent: bool) -> Image.Image:
    image = Image.fromarray(pixels(280, 290, 1, 6)[:, :, 0])
    image.putpalette([index * factor % 256 for index in range(256) for factor in (1, 3, 7)])
    if transparent:
        image.info["transparency"] = 5
    return image


def _deep(mode: str, dtype: str) -> Image.Image:
    y, x = np.mgrid[0:300, 0:310]
    return Image.frombytes(mode, (310, 300), (y * 200 + x * 3).astype(dtype).tobytes())


def sample_images() -> dict[str, Image.Image]:
    """Every mode that files have, sizes below, at and above the crop, and shapes far from square."""
    return {
        "L": Image.fromarray(pixels(301, 207, 1, 1)[:, :, 0]),
        "LA": _merged("LA", 260, 333, 2),
        "RGB": Image.fromarray(pixels(511, 257, 3, 3)),
        "RGBA": Image.fromarray(pixels(240, 500, 4, 4)),
        "CMYK": _merged("CMYK", 300, 300, 5),
        "YCbCr": _merged("YCbCr", 230, 231, 8),
        "P": _palette(transparent=False),
        "P transparent": _palette(transparent=True),
        "1": Image.fromarray(pixels(256, 256, 1, 7)[:, :, 0]).point(lambda value: 255 * (value > 127), "1"),
        "I;16": _deep("I;16", "<u2"),
        "I": _deep("I", "<i4"),
        "F": _deep("F", "<f4"),
        "1 pixel": Image.fromarray(pixels(1, 1, 3, 9)),
        "5 by 9": Image.fromarray(pixels(5, 9, 3, 9)),
        "wide": Image.fromarray(pixels(3, 700, 3, 10)),
        "tall": Image.fromarray(pixels(900, 4, 3, 11)),
        "tall, shrunk": Image.fromarray(pixels(994, 292, 3, 12)),
        "tall, shrunk more": Image.fromarray(pixels(1194, 484, 3, 13)),
        "shorter side 256": Image.fromarray(pixels(256, 300, 3, 14)),
    }


def _random_words(count: int) -> np.ndarray:
    """Knuth's linear congruential generator, its upper half: (count,) int64 from -2^31 to 2^31 - 1."""
    state, words = 1, np.empty(count, dtype=np.int64)
    for index in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        words[index] = (state >> 32) - 2**31
    return words


def sample_sounds() -> dict[str, np.ndarray]:
    """Mono waveforms, (samples,) float32; `fine` and `quiet` have more bits than sox keeps, `loud` leaves -1 to 1."""
    words = _random_words(SAMPLES)
    steps = np.arange(SAMPLES, dtype=np.int64)
    sweep = np.abs((steps * steps * 3 + steps * 200) % 2**20 - 2**19) / 2**18 - 1
    sounds = {
        "silence": steps * 0.0,
        "noise": (words >> 16) / 2**15,
        "fine": sweep * 0.875 + words / 2**40,
        "quiet": words / 2**50,
        "loud": words / 2**29,
        "edges": np.resize([1.0, -1.0, 0.5, 1 - 2**-24, -(2**-31), 2**-24, 0.0], SAMPLES),
        "short": (words >> 16)[:4999] / 2**16,
        "long": np.resize(sweep, 20_001),
    }
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}
