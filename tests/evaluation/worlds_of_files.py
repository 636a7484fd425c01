"""A small folder and labelled files for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.sample_files import pixels

CLASSES = ("ant", "bee", "cat", "dog", "emu")
BROKEN = "cat/03.png"


def write_images(root: Path, files: int = 13) -> Path:
    """Class folders of PNGs of unequal size; one is cut short."""
    for index in range(files):
        folder = root / CLASSES[index % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.RandomState(index).randint(0, 1 + 20 * index, (40 + index, 50, 3))
        image = (pixels(40 + index, 50, 3, index) + noise) % 256
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{index // len(CLASSES) + 1:02}.png")
    broken = root / BROKEN
    broken.write_bytes((root / "ant/01.png").read_bytes()[:-60])
    return root


def write_raw(root: Path, lengths: list[int]) -> Path:
    """A list of files of random bytes, with numbered classes."""
    root.mkdir(parents=True, exist_ok=True)
    source = np.random.RandomState(0)
    lines = []
    for index, length in enumerate(lengths):
        (root / f"{index}.bin").write_bytes(source.randint(0, 256, length).astype(np.uint8).tobytes())
        lines.append(f"{index}.bin\t{index % len(CLASSES)}\n")
    (root / "files.txt").write_text("".join(lines), encoding="utf-8")
    return root / "files.txt"
