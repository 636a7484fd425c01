"""The catalogue of the checkpoints that Apple published, with this project's own YAML for each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from byteformer_convert.errors import UsageError

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import Task

PACKAGE = Path(__file__).parents[1]
BASE_URL: Final = "https://docs-assets.developer.apple.com/ml-research/models/cvnets-v2/multimodal_classification/"
TABLE_URL: Final = "https://github.com/apple/corenet/blob/main/projects/byteformer/README.md"
PAPER_URL: Final = "https://arxiv.org/abs/2306.00238"

Labels = Literal["imagenet-1k", "speech-commands-v2-12"]


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """One published checkpoint.

    Attributes:
        name: Of the file without `.pt`, and of its YAML.
        task: `image` or `audio`.
        data: What it was trained on, and how that was encoded.
        dataset: The dataset's name on the Hugging Face Hub.
        top1: Top-1 accuracy in percent on `split` of that dataset, from CoreNet's table of pre-trained models.
        split: The split of it that CoreNet evaluates on.
        n_classes: Rows of the classifier.
        labels: Which classes those rows are: `imagenet-1k`, in the order of their WordNet ids; or
            `speech-commands-v2-12`, in the alphabetical order of the 12 commands.
        sha256: Of the file; None where nobody has recorded it yet.
        size: Of the file in bytes; None where nobody has recorded it yet.
    """

    name: str
    task: Task
    data: str
    dataset: str
    top1: float
    split: str
    n_classes: int
    labels: Labels
    sha256: str | None = None
    size: int | None = None

    @property
    def file(self) -> str:
        """The checkpoint's file name."""
        return f"{self.name}.pt"

    @property
    def url(self) -> str:
        """Where Apple serves it."""
        return BASE_URL + self.file

    @property
    def config(self) -> Path:
        """Its YAML."""
        return config_path(self.name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"file": self.file, "url": self.url, "config": self.config.name}


def _imagenet(name: str, encoding: str, top1: float) -> PublishedCheckpoint:
    data = f"ImageNet, {encoding}"
    return PublishedCheckpoint(name, "image", data, "ILSVRC/imagenet-1k", top1, "validation", 1000, "imagenet-1k")


def _speech_commands(name: str, encoding: str, top1: float) -> PublishedCheckpoint:
    data = f"Speech Commands v2, {encoding}"
    return PublishedCheckpoint(name, "audio", data, "google/speech_commands", top1, "test", 12, "speech-commands-v2-12")


# fmt: off
_ALL = (
    _imagenet("imagenet_tiff",                                "TIFF files",                                77.05),
    _imagenet("imagenet_jpeg_q100_k8_w128",                   "JPEG files of quality 100",                 67.64),
    _imagenet("imagenet_jpeg_q60_k4_w128",                    "JPEG files of quality 60",                  62.43),
    _imagenet("imagenet_shuffle_bytes_reverse",               "JPEG files of quality 100, bytes reversed", 61.14),
    _imagenet("imagenet_obfuscation",                         "raw pixels, permuted values and noise",     76.00),
    _imagenet("imagenet_privacy_preserving_camera_k4_f0.05",  "5 % of the raw pixels",                     68.10),
    _speech_commands("speech_commands_wav",                   "WAV files of float32 samples",              94.95),
    _speech_commands("speech_commands_mp3_k4_w32",            "MP3 files",                                 90.25),
)
# fmt: on

PUBLISHED: Final[Mapping[str, PublishedCheckpoint]] = MappingProxyType({entry.name: entry for entry in _ALL})


def published(name: str) -> PublishedCheckpoint:
    """One checkpoint of the catalogue, by its name, with or without `.pt`.

    Raises:
        UsageError: The catalogue has no such name.
    """
    entry = PUBLISHED.get(name.removesuffix(".pt"))
    if entry is not None:
        return entry
    near = difflib.get_close_matches(name, PUBLISHED, n=1, cutoff=0.4)
    raise UsageError(
        f"--published is {name!r}, which is not in the catalogue{f'; the nearest is {near[0]}' if near else ''}.",
        hint="`byteformer-convert published` lists all of them.",
    )


def published_by_sha256(sha256: str) -> PublishedCheckpoint | None:
    """The published checkpoint that a file is, where its sum is known and equal."""
    return next((entry for entry in _ALL if entry.sha256 == sha256), None)


def config_path(name: str) -> Path:
    """The YAML of a published checkpoint, such as `imagenet_jpeg_q60_k4_w128`.

    A wheel carries the YAMLs inside the package; a checkout has them at its top.
    """
    inside = PACKAGE / "configs" / f"{name}.yaml"
    return inside if inside.is_file() else PACKAGE.parent / "configs" / f"{name}.yaml"
