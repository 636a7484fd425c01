"""The YAMLs of the published checkpoints, as this project writes them."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def config_path(name: str) -> Path:
    """The YAML of a published checkpoint, such as `imagenet_jpeg_q60_k4_w128`.

    A wheel carries the YAMLs inside the package; a checkout has them at its top.
    """
    inside = PACKAGE / "configs" / f"{name}.yaml"
    return inside if inside.is_file() else PACKAGE.parent / "configs" / f"{name}.yaml"
