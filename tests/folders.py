"""Converted folders of generated checkpoints, as `byteformer-convert convert` writes them, small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from byteformer_convert.conversion import Request, convert
from byteformer_convert.corenet.options import load_options
from byteformer_convert.demo import generated_weights

# Twelve layers of 192 channels, as in every `tiny` model; what makes it small is the position table.
MODEL = {"window_sizes": [32], "window_shifts": [0, 16] * 6, "conv_kernel_size": 32, "max_num_tokens": 2000}
IMAGE = {
    "image_augmentation": {
        "resize": {"enable": True, "size": 40},
        "center_crop": {"enable": True, "size": 32},
        "pil_save": {"enable": True, "file_encoding": "PNG"},
    }
}
AUDIO = {"audio_augmentation": {"torchaudio_save": {"enable": True, "encoding_dtype": "uint8"}}}


def make_folder(
    parent: Path,
    task: str = "image",
    *,
    classes: int = 5,
    labels: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
    **byteformer: Any,
) -> Path:
    """`parent/folder`, of random weights.

    Args:
        parent: A folder that is there.
        task: `image` (32 x 32 PNGs) or `audio` (WAVs of 8 bits).
        classes: How many.
        labels: Their names; placeholders where there are none.
        extra: More of the YAML, over what is here.
        byteformer: Keys under model.classification.byteformer.
    """
    category = {"image": "classification", "audio": "audio_classification"}[task]
    content = {
        "dataset": {"category": category},
        "model": {
            "classification": {"name": "byteformer", "n_classes": classes, "byteformer": MODEL | byteformer},
            "audio_classification": {"name": "byteformer"},
            "activation": {"name": "gelu"},
        },
        **({"image": IMAGE, "audio": AUDIO}[task]),
        **(extra or {}),
    }
    config, weights = parent / "model.yaml", parent / "model.pt"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    torch.save(generated_weights(load_options(config), 0), weights)
    names = None
    if labels:
        names = parent / "labels.txt"
        names.write_text("\n".join(labels), encoding="utf-8")
    request = Request(config=config, weights=weights, output=parent / "folder", labels=names, skip_parity=True)
    return convert(request).output


def write_photo(path: Path, size: int = 4) -> Path:
    """A picture of one colour; of 4 x 4 pixels, its PNG is shorter than anybody's position table."""
    Image.new("RGB", (size, size), (200, 120, 40)).save(path)
    return path
