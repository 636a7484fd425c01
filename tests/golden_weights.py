"""Weights for the golden cases, drawn from nothing but a parameter's name, its shape and the case's seed.

The generator is numpy's legacy RandomState, whose streams are frozen, so the goldens need not store any weights.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Shape = tuple[int, ...]


def draw_state_dict(shapes: Mapping[str, Shape], seed: int, *, zero_pad_row: bool) -> dict[str, NDArray[np.float32]]:
    """Every parameter of a CoreNet state dict as float32.

    `zero_pad_row` zeroes the embedding row that padding uses, as it is after training with CoreNet.
    """
    state = {name: draw(name, shape, seed) for name, shape in shapes.items()}
    if zero_pad_row:
        state["embeddings.weight"][-1] = 0
    return state


def draw(name: str, shape: Shape, seed: int) -> NDArray[np.float32]:
    """One parameter: standard normal noise, scaled so that activations keep about their size through the layers."""
    stream = zlib.crc32(name.encode()) ^ (seed * 2654435761)
    noise = np.random.RandomState(stream & 0xFFFFFFFF).standard_normal(math.prod(shape)).reshape(shape)
    return scale(name, noise).astype(np.float32)


def scale(name: str, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """The order of the operations is part of the recipe: another order rounds differently."""
    if noise.ndim == 1:
        return 1.0 + 0.2 * noise if name.endswith(".weight") else 0.1 * noise
    if name == "embeddings.weight":
        return 0.5 * noise
    if name.startswith("pos_embed."):
        return 0.3 * noise
    if name == "token_reduction_net.weight":
        return noise / np.sqrt(0.25 * noise.shape[1] * noise.shape[2])
    if name == "classifier.weight":
        return 2.0 * noise / np.sqrt(noise.shape[1])
    return noise / np.sqrt(noise.shape[1])
