"""The catalogue: every entry has a YAML of ours that describes what the entry says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from byteformer_convert.corenet import published as catalogue
from byteformer_convert.corenet.options import load_options
from byteformer_convert.corenet.published import PUBLISHED, published, published_by_sha256
from byteformer_convert.errors import UsageError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_yaml_is_in_the_catalogue_and_the_other_way_round() -> None:
    assert sorted(PUBLISHED) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    assert len(PUBLISHED) == 8


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_says_what_its_yaml_says(name: str) -> None:
    entry, options = PUBLISHED[name], load_options(PUBLISHED[name].config)
    assert (options.task, options.n_classes) == (entry.task, entry.n_classes)
    assert options.flat["dataset.name"] == {"image": "imagenet", "audio": "speech_commands_v2"}[entry.task]
    text = entry.config.read_text(encoding="utf-8")
    assert entry.url in text
    assert f"{entry.top1:.2f} %" in text


def test_a_sum_or_size_is_never_made_up() -> None:
    assert all(entry.sha256 is None or len(entry.sha256) == 64 for entry in PUBLISHED.values())
    assert all((entry.sha256 is None) == (entry.size is None) for entry in PUBLISHED.values())


def test_a_name_may_be_the_files() -> None:
    assert published("imagenet_tiff.pt") is PUBLISHED["imagenet_tiff"]


def test_an_unknown_name_is_told_the_nearest_and_the_command_that_lists_them() -> None:
    with pytest.raises(UsageError, match="the nearest is imagenet_tiff") as caught:
        published("imagenet-tif")
    assert "published" in str(caught.value.hint)
    with pytest.raises(UsageError, match="not in the catalogue"):
        published("resnet50")


def test_a_file_is_recognised_by_its_sum_once_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert published_by_sha256("0" * 64) is None
    known = replace(PUBLISHED["imagenet_tiff"], sha256="0" * 64, size=1)
    monkeypatch.setattr(catalogue, "_ALL", (known,))
    assert published_by_sha256("0" * 64) is known
