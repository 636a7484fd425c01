"""Options made to do harm: files, and wrong values for every option in the table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from byteformer_convert.corenet.option_table import ALL_OPTIONS
from byteformer_convert.corenet.options import load_options, options_from_mapping
from byteformer_convert.errors import OptionsError
from byteformer_convert.mapping.config import config_json
from byteformer_convert.mapping.labels import labels_for
from byteformer_convert.mapping.processor import processor_fields
from tests.hostile.hostile_options import VALUES, hostile_files, wrong_values

if TYPE_CHECKING:
    from tests.hostile.replay import Replay


@pytest.mark.parametrize("target", ["yaml", "config_json"])
def test_a_hostile_file_does_no_harm(replay: Replay, tmp_path: Path, target: str) -> None:
    file = tmp_path / "x"
    findings = []
    for name, data in hostile_files():
        file.write_bytes(data)
        if (finding := replay.ask(target, file)) is not None:
            findings.append(f"{name}: {finding.problem}\n{finding.details}")
    assert not findings, "\n".join(findings)


def test_any_value_of_any_option_is_used_or_refused_by_name() -> None:
    tried = refused = longest = 0
    for name, flat in wrong_values():
        tried += 1
        try:
            options = options_from_mapping(flat, source="x.yaml")
            processor = processor_fields(options)
        except OptionsError as error:
            refused += 1
            longest = max(longest, len(str(error)))
            continue
        assert options.n_classes <= 10**6, name
        assert max(options.window_sizes) <= 2**14, name
        # What is handed on to torch and into JSON files must go there.
        labels = labels_for(options, None) if options.n_classes < 10**5 else ()
        json.dumps(
            [processor, config_json(options, labels, "float32"), options.resolved()], allow_nan=False, default=str
        )
    assert tried == 2 * len(ALL_OPTIONS) * len(VALUES)
    assert refused > tried / 2
    assert longest < 4000


@pytest.mark.parametrize(
    "number", ["9" * 2000, "1" + ":30" * 2000, "0" + "7" * 2000, "1." + "0" * 2000, "1" + "_" * 2000]
)
def test_a_long_number_is_refused_before_it_is_converted(tmp_path: Path, number: str) -> None:
    (tmp_path / "x.yaml").write_text(f"a: {number}")
    with pytest.raises(OptionsError, match="a number of"):
        load_options(tmp_path / "x.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_device_or_a_folder_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (
        tmp_path / "pipe.yaml",
        Path("/dev/zero"),
        Path(os.devnull),
        Path("/dev/urandom"),
        tmp_path / "folder.yaml",
        Path("/proc/self/mem"),
    ):
        with pytest.raises(OptionsError):
            load_options(path)


def test_a_file_of_100_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(OptionsError, match="more than 4 MB"):
        load_options(path)
