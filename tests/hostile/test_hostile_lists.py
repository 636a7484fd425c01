"""Lists that anybody may have written: class names, manifests, data sets, journals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteformer_convert.batch.manifest import read_manifest, shard_of
from byteformer_convert.errors import ByteFormerConvertError, FileInputError, UsageError
from byteformer_convert.evaluation.journal import Journal
from byteformer_convert.evaluation.records import BatchRecord
from byteformer_convert.evaluation.sources import class_folders, open_source
from byteformer_convert.mapping.labels import read_labels
from tests.hostile.hostile_options import hostile_files
from tests.hostile.list_targets import LIST_TARGETS, SUBJECT

if TYPE_CHECKING:
    from tests.hostile.replay import Replay

READERS: dict[str, Callable[[Path], Any]] = {
    "labels": lambda path: read_labels(path, 2),
    "manifest": read_manifest,
    "data": lambda path: open_source(path, "image", data_format="list", raw=True),
    "commands": lambda path: open_source(path, "audio", data_format="manifest", raw=True),
    "journal": lambda path: Journal(path, SUBJECT).__enter__(),
}
LINES = {
    "a row of 5,000 digits": b"x " + b"9" * 5000,
    "a row of other digits": "x \N{ARABIC-INDIC DIGIT THREE}".encode(),
    "a path of NUL": b"\x00\t0",
    "a line of 10 MB": b"x" * 10_000_000 + b" 0",
    "other line ends": "x 0\N{LINE SEPARATOR}y 1".encode(),
    "deep": b"[" * 100_000,
    "a deep line": b'{"audio_filepath": ' + b"[" * 100_000,
    "a long number": b'{"audio_filepath": "x", "command": ' + b"9" * 100_000 + b"}",
    "a label that nests": b"[" + b"[1]," * 50_000 + b"[1]]",
    "a name of an index": b'{"id2label": {"99999999999999999999": "a", "1": "b"}}',
    "an entry of aliases": b"- &a {name: [x]}\n- {name: x, weights: [*a, *a]}\n",
    "an absolute pattern": b"- {runs: 'r*', weights: /x, config: /y}\n",
    "an empty pattern": b"- {runs: '', weights: x, config: y}\n",
    "a name that leads up": b"- {name: .., weights: x}\n- {name: a/b, weights: x}\n- {name: '', weights: x}\n",
    "overrides of lists": b"- {weights: x, overrides: [[a], {b: c}]}\n",
    "a journal of text": b'{"batch":"0","files":[],"broken":[],"precision":null}\n',
    "a journal of rows beyond": b'{"batch":0,"files":[[0,999,0,1,1,5]],"broken":[],"precision":null}\n',
    "a journal of minus": b'{"batch":0,"files":[[-1,0,0,1,1,5]],"broken":[],"precision":null}\n',
    "a journal of halves": b'{"batch":0,"files":[[0,0,0,1,1,0.5]],"broken":[],"precision":null}\n',
    "a journal of deep": b"[" * 100_000 + b"\n",
}


SMALL = [(name, data) for name, data in hostile_files() if len(data) < 200_000]


@pytest.mark.parametrize("target", [target.name for target in LIST_TARGETS])
def test_a_hostile_list_does_no_harm(replay: Replay, tmp_path: Path, target: str) -> None:
    file = tmp_path / "x"
    findings = []
    for name, data in [*LINES.items(), *SMALL]:
        file.write_bytes(data)
        if (finding := replay.ask(target, file)) is not None:
            findings.append(f"{name}: {finding.problem}\n{finding.details}")
    assert not findings, "\n".join(findings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("reader", READERS)
def test_no_pipe_device_or_folder_is_waited_for(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/full"), tmp_path):
        with pytest.raises(ByteFormerConvertError) as caught:
            READERS[reader](path)
        assert caught.value.exit_code == 3


def test_folders_that_link_to_each_other_are_read_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "x.png").write_bytes(b"x")
    (tmp_path / "class" / "a" / "again").symlink_to(".")
    (tmp_path / "class" / "b" / "again").symlink_to(".")
    (tmp_path / "class" / "b" / "across").symlink_to("../a")
    items = class_folders(tmp_path, (".png",)).items
    assert len(items) == 2


def test_a_shard_is_two_short_numbers() -> None:
    for shard in ("1/" + "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}/2", "0/1", "2/1"):
        with pytest.raises(UsageError, match="--shard"):
            shard_of((), shard)


def test_a_journals_first_line_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"{" * (4 << 20))
    with pytest.raises(FileInputError, match="line 1 is not of a journal"):
        Journal(tmp_path / "x", SUBJECT).__enter__()
    assert (tmp_path / "x").stat().st_size == 4 << 20


NUMBERS = st.integers() | st.floats() | st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.integers())
RECORDS = st.fixed_dictionaries(
    {
        "batch": st.just(0) | NUMBERS,
        "files": st.lists(st.lists(st.integers(-1, 3) | NUMBERS, max_size=9), max_size=2) | NUMBERS,
        "broken": st.lists(st.tuples(NUMBERS, NUMBERS), max_size=2) | NUMBERS,
        "precision": st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    }
)


@given(RECORDS)
def test_a_batch_that_is_taken_comes_out_as_it_went_in(content: dict[str, Any]) -> None:
    line = json.dumps(content)
    try:
        record = BatchRecord.from_dict(json.loads(line))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        return
    again = BatchRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    assert repr(again) == repr(record)  # NaN is not equal to itself
    record.fits(batches=1, files=2, classes=3, arithmetics=1)
