"""Targets that read lists: class names, manifests of conversions, data sets, journals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from byteformer_convert.batch.manifest import read_manifest
from byteformer_convert.evaluation.journal import Journal
from byteformer_convert.evaluation.sources import open_source
from byteformer_convert.evaluation.tally import Tally
from byteformer_convert.evaluation.variants import parse_variants
from byteformer_convert.mapping.labels import read_labels
from tests.hostile.attempt import Target
from tests.hostile.commands import written

SUBJECT = {"version": "0", "files": 2}


def read_names(data: bytes, place: Path) -> None:
    """The bytes are what `--labels` gives, as text."""
    read_labels(written(place, "x.txt", data), 2)


def read_names_json(data: bytes, place: Path) -> None:
    """The same as JSON."""
    json.dumps(read_labels(written(place, "x.json", data), 2))


def read_conversions(data: bytes, place: Path) -> None:
    """The bytes are a manifest of conversions."""
    (place / "run").mkdir()
    for name in ("a.pt", "a.yaml"):
        written(place / "run", name, b"x")
    json.dumps([entry.to_dict() for entry in read_manifest(written(place, "x.yaml", data))])


def read_data(name: str) -> Callable[[bytes, Path], None]:
    """The bytes are what `--data` gives."""

    def run(data: bytes, place: Path) -> None:
        source = open_source(written(place, name, data), "audio", raw=True)
        source.digest()
        assert all(0 <= source.items.class_index(index) < len(source.classes) for index in range(len(source.items)))

    return run


def read_journal(data: bytes, place: Path) -> None:
    """The bytes follow the journal's first line, or are all of it."""
    first = json.dumps({"subject": SUBJECT}, separators=(",", ":")).encode() + b"\n"
    variants = parse_variants(None)
    sizes = {"batches": 1, "files": 2, "classes": 3, "arithmetics": len(variants)}
    for content in (first + data, data):
        tally = Tally(variants)
        with Journal(written(place, "x.jsonl", content), SUBJECT) as journal:
            for record in journal.finished(lambda record: record.fits(**sizes)):
                tally.add(record)
        tally.scores(("a", "b", "c"))


def names_seeds() -> Iterator[bytes]:
    """Two names."""
    yield b"cat\ndog\n"


def names_json_seeds() -> Iterator[bytes]:
    """Each form that labels have."""
    yield b'["cat", "dog"]'
    yield b'{"id2label": {"0": "cat", "1": "dog"}}'
    yield b'{"cat": 0, "dog": 1}'


def conversions_seeds() -> Iterator[bytes]:
    """Each form that entries have."""
    yield b"entries:\n  - {name: x, weights: a.pt, config: a.yaml, overrides: [a=1], atol: 1.0e-5}\n"
    yield b"entries:\n  - {runs: r*, weights: '*.pt', config: '*.yaml', push: {repo_id: 'me/{name}', private: true}}\n"


def list_seeds() -> Iterator[bytes]:
    """Names and numbers."""
    yield b"a.wav\tyes\nb.wav\tno\n"
    yield b"a.wav 0\nb.wav 1\n"


def commands_seeds() -> Iterator[bytes]:
    """Two of CoreNet's lines."""
    yield b'{"audio_filepath": "a.wav", "command": "yes"}\n{"audio_filepath": "b.wav", "command": "no"}\n'


def journal_seeds() -> Iterator[bytes]:
    """One batch, with and without mixed precision."""
    yield b'{"batch":0,"files":[[0,1,0,1,1,5]],"broken":[[1,"x"]],"precision":null}\n'
    yield b'{"batch":0,"files":[],"broken":[],"precision":[1,0,0.5]}\n'


_YAML = (b"&a ", b"*a", b"<<: *a", b"runs: ", b"name: ", b"'**/*'", b"/", b"..", b"push: ", b".nan", b"\x00", b"!!set ")
_NUMBERS = (b"-1", b"1e999", b"NaN", b"99999999999999999999", b"null", b"[]", b"0.5", b"true")

LIST_TARGETS = (
    Target("labels", read_names, names_seeds, longest=1 << 10),
    Target("labels_json", read_names_json, names_json_seeds, words=_NUMBERS),
    Target("batch_manifest", read_conversions, conversions_seeds, words=_YAML),
    Target("file_list", read_data("x.txt"), list_seeds, words=(b"\t", b"\xe2\x80\xa8", b"\xd9\xa3", b"9" * 20)),
    Target("commands", read_data("x.json"), commands_seeds, words=_NUMBERS),
    Target("journal", read_journal, journal_seeds, words=_NUMBERS),
)
