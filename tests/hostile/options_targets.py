"""Targets that read CoreNet's options: a YAML, an override, an adapter's config.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from byteformer_convert.corenet.option_table import ALL_OPTIONS
from byteformer_convert.corenet.options import load_options
from byteformer_convert.mapping.config import config_json
from byteformer_convert.mapping.labels import labels_for
from byteformer_convert.mapping.processor import processor_fields
from tests.hostile.attempt import Target
from tests.hostile.commands import inspect_and_draw, written

SMALL = {"model.classification.name": "byteformer", "model.classification.byteformer.max_num_tokens": 60}


def use_options(path: Path, overrides: tuple[str, ...] = ()) -> None:
    """What `inspect` and then `convert` do with options before there is a checkpoint."""
    inspect_and_draw(config=path, overrides=overrides)
    options = load_options(path, overrides)
    fields = processor_fields(options)
    json.dumps([fields, config_json(options, labels_for(options, None), "float32"), options.resolved()])


def read_yaml(data: bytes, place: Path) -> None:
    """The bytes are the YAML."""
    use_options(written(place, "x.yaml", data))


def read_config_json(data: bytes, place: Path) -> None:
    """The bytes are an adapter's config.json."""
    use_options(written(place, "config.json", data))


def read_override(data: bytes, place: Path) -> None:
    """The bytes are the overrides, one a line, over a YAML that says little."""
    path = written(place, "x.yaml", yaml.safe_dump(SMALL).encode())
    use_options(path, tuple(data.decode("utf-8", "surrogateescape").split("\n")))


def yaml_seeds() -> Iterator[bytes]:
    """Every option at its default, in one file and alone."""
    yield yaml.safe_dump(SMALL).encode()
    defaults = {key: option.default for key, option in ALL_OPTIONS.items()}
    yield yaml.safe_dump({**_plain(defaults), **SMALL}).encode()
    yield b"model:\n  classification: {name: byteformer, byteformer: {mode: small}}\n  activation: {name: gelu}\n"
    yield b"a: &a {mode: tiny}\nmodel: {classification: {name: byteformer, byteformer: {<<: *a}}}\n"


def json_seeds() -> Iterator[bytes]:
    """The same as JSON."""
    defaults = _plain({key: option.default for key, option in ALL_OPTIONS.items()})
    yield json.dumps({**defaults, **SMALL}).encode()
    yield json.dumps({"model_type": "causal_lm", **SMALL}).encode()


def override_seeds() -> Iterator[bytes]:
    """Each option at its default, as on a command line."""
    for key, option in ALL_OPTIONS.items():
        yield f"{key}={json.dumps(_plain({'x': option.default})['x'])}".encode()
    yield b"--model.classification.byteformer.window-sizes=32,64\nmodel.classification.n_classes=010"


def _plain(values: dict[str, object]) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


_KEYS = tuple(part.encode() for key in ALL_OPTIONS for part in (key, key.rpartition(".")[2]))
_YAML_WORDS = (
    b"&a ", b"*a", b"<<: *a", b"!!int ", b"!!float ", b"!!binary ", b"!!timestamp ", b"!!set ", b"!!omap ",
    b"!!python/", b"? ", b"- ", b"| ", b"> ", b"---\n", b"...\n", b"%YAML 1.1\n", b".nan", b".inf", b"-.inf",
    b"1e999", b"0x", b"0o", b"1:30", b"2001-12-14", b"~", b"null", b"true", b"99999999999999999999",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"byteformer", b"tiny", b"audio_classification",
)  # fmt: skip

OPTIONS_TARGETS = (
    Target("yaml", read_yaml, yaml_seeds, words=(*_KEYS, *_YAML_WORDS)),
    Target("config_json", read_config_json, json_seeds, words=(*_KEYS, b"NaN", b"Infinity", b"1e999", b"\\ud800")),
    Target("override", read_override, override_seeds, words=(*_KEYS, *_YAML_WORDS), longest=1 << 10),
)
