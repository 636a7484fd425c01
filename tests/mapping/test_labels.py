"""Class names: the two data sets', a file's, placeholders; and every file that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.corenet.options import CoreNetOptions, load_options, options_from_mapping
from byteformer_convert.corenet.published import config_path
from byteformer_convert.errors import LabelsError
from byteformer_convert.mapping.config import config_json
from byteformer_convert.mapping.labels import labels_for

# CoreNet sorts the commands that it finds in the manifests.
COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "silence", "stop", "unknown", "up", "yes")


def options(classes: int = 3, data_set: str | None = None) -> CoreNetOptions:
    flat: dict[str, Any] = {"model.classification.name": "byteformer", "model.classification.n_classes": classes}
    return options_from_mapping(flat | {"dataset.name": data_set}, source="c.yaml")


def read(folder: Path, name: str, content: str | bytes) -> tuple[str, ...]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return labels_for(options(), path)


def test_imagenets_classes_are_in_the_usual_order() -> None:
    labels = labels_for(options(1000, "imagenet"))
    assert len(labels) == len(set(labels)) == 1000
    known = {0: "tench", 1: "goldfish", 207: "golden retriever", 281: "tabby", 340: "zebra", 948: "Granny Smith"}
    assert {index: labels[index] for index in known} == known
    assert (labels[134], labels[517]) == ("crane bird", "crane"), "two classes that are often given one name"
    assert labels[-1] == "toilet tissue"


def test_speech_commands_are_corenets_sorted_list() -> None:
    assert labels_for(options(12, "speech_commands_v2")) == COMMANDS


@pytest.mark.parametrize(("name", "first"), [("imagenet_tiff", "tench"), ("speech_commands_wav", "down")])
def test_the_published_yamls_name_their_classes(name: str, first: str) -> None:
    assert labels_for(load_options(config_path(name)))[0] == first


@pytest.mark.parametrize(
    ("classes", "data_set"), [(1000, None), (1000, "places365"), (100, "imagenet"), (35, "speech_commands_v2")]
)
def test_classes_that_nobody_named_get_placeholders(classes: int, data_set: str | None) -> None:
    labels = labels_for(options(classes, data_set))
    assert labels == tuple(f"LABEL_{index}" for index in range(classes))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "cat\ndog\nemu\n"),
        ("l.txt", "\ufeffcat \r\n\r\ndog\r\nemu"),
        ("l.json", '["cat", "dog", "emu"]'),
        ("l.json", '{"0": "cat", "2": "emu", "1": "dog"}'),
        ("l.json", '{"cat": 0, "emu": 2, "dog": 1}'),
        ("config.json", '{"id2label": {"0": "cat", "1": "dog", "2": "emu"}}'),
    ],
)
def test_a_file_names_the_classes_in_order(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, name, content) == ("cat", "dog", "emu")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", "cat\ndog\n", "holds 2 labels; the classifier has 3 classes"),
        ("l.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("l.json", '["cat", 1, "emu"]', "1 is not a name"),
        ("l.json", '["cat", "dog"', "not a JSON list"),
        ("l.json", '{"0": "cat", "1": "dog", "3": "emu"}', "without a gap"),
        ("l.json", '"cat"', "neither a list nor an object"),
    ],
)
def test_a_file_that_does_not_name_them_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(LabelsError, match=message):
        read(tmp_path, name, content)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"none\.txt: cannot be read: No such file"):
        labels_for(options(), tmp_path / "none.txt")


def test_classes_that_share_a_name_all_stay_and_the_first_is_the_names() -> None:
    from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig

    content = json.loads(json.dumps(config_json(options(), ("crane", "emu", "crane"), "float32")))
    config = ByteFormerConfig.from_dict(content)
    assert config.num_labels == 3
    assert config.id2label == {0: "crane", 1: "emu", 2: "crane"}
    assert config.label2id == {"crane": 0, "emu": 1}
    assert ByteFormerConfig.from_dict(config.to_dict()).id2label == config.id2label
