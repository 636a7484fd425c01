"""Fewer positions: exact for files that fit, refused where it makes no sense, and told on every page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from byteformer_convert.conversion import Request, convert
from byteformer_convert.corenet.options import CoreNetOptions, load_options
from byteformer_convert.demo import generated_weights
from byteformer_convert.errors import UsageError
from byteformer_convert.mapping.trim import POSITIONS, kept_rows, max_bytes, trim_sentence, trimmed
from byteformer_convert.parity.check import build_reference
from byteformer_convert.to_corenet import to_corenet
from byteformer_convert.verification import verify

YAML = """
dataset: {category: classification}
image_augmentation: {pil_save: {enable: true, file_encoding: fHWC}}
model:
  classification:
    name: byteformer
    n_classes: 3
    byteformer: {max_num_tokens: 40, conv_kernel_size: 5, window_sizes: [8], window_shifts: [0,4,0,4,0,4,0,4,0,4,0,4]}
  activation: {name: gelu}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a.yaml` and a generated `a.pt` in a folder."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "a.yaml").write_text(YAML)
    torch.save(generated_weights(load_options(folder / "a.yaml"), 0), folder / "a.pt")
    return folder


@pytest.fixture(scope="module")
def options(source: Path) -> CoreNetOptions:
    return load_options(source / "a.yaml")


def test_only_the_number_of_positions_changes(options: CoreNetOptions) -> None:
    assert trimmed(options, None) is options
    assert trimmed(options, 7).max_num_tokens == 7
    assert trimmed(options, 40) == options


@pytest.mark.parametrize("rows", [0, -1, 41])
def test_rows_that_are_not_there_cannot_be_kept(options: CoreNetOptions, rows: int) -> None:
    with pytest.raises(UsageError, match=f"--trim-positions is {rows}; the position table has 40 rows") as caught:
        trimmed(options, rows)
    assert "up to 2 * N + 4 bytes" in str(caught.value.hint)


def test_the_first_rows_stay_and_everything_else_too(options: CoreNetOptions) -> None:
    tensors = generated_weights(options, 0)
    kept = kept_rows(tensors, 7)
    assert torch.equal(kept[POSITIONS], tensors[POSITIONS][:, :, :7])
    assert all(kept[name] is tensors[name] for name in tensors if name != POSITIONS)


def test_the_longest_file_that_fits_gives_the_same_logits_and_one_byte_more_may_not(options: CoreNetOptions) -> None:
    tensors = generated_weights(options, 0)
    few = trimmed(options, 7)
    longest = max_bytes(few)
    whole, short = build_reference(tensors, options), build_reference(kept_rows(tensors, 7), few)
    ids = torch.randint(0, 256, (1, longest + 1))
    assert torch.equal(short(ids[:, :longest]), whole(ids[:, :longest]))
    with pytest.raises(RuntimeError):
        short(ids)


def test_the_sentence_says_what_fits(options: CoreNetOptions) -> None:
    assert trim_sentence(options, options) is None
    assert "first 7 of 40 rows" in str(trim_sentence(trimmed(options, 7), options))
    assert "up to 18 bytes" in str(trim_sentence(trimmed(options, 7), options))


@pytest.mark.slow
def test_a_trimmed_folder_passes_parity_and_verify_and_goes_back(source: Path, tmp_path: Path) -> None:
    weights, config = source / "a.pt", source / "a.yaml"
    conversion = convert(Request(weights, tmp_path / "out", config, trim_positions=20))
    assert conversion.parity.verdict == "passed"
    assert max(max(case.lengths) for case in conversion.parity.cases) <= 2 * 20 + 4
    assert conversion.report["trimmed_positions"] == {"from": 40, "to": 20}
    assert any("first 20 of 40 rows" in note for note in conversion.notes)
    config_file = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config_file["max_position_embeddings"] == 20
    table = load_file(tmp_path / "out" / "model.safetensors")["byteformer.embeddings.position_embeddings"]
    assert torch.equal(table, torch.load(weights)[POSITIONS][0, 0, :20])

    verification = verify(tmp_path / "out", weights, config)
    assert verification.passed
    assert "first 20 of 40 rows" in verification.notes[0]

    result = to_corenet(tmp_path / "out", tmp_path / "back.pt")
    assert "cut from 40 to 20 rows" in result.notes[0]
    assert load_options(tmp_path / "back.yaml").max_num_tokens == 20


@pytest.mark.slow
def test_a_trimmed_table_with_another_row_in_it_fails_verification(source: Path, tmp_path: Path) -> None:
    convert(Request(source / "a.pt", tmp_path / "out", source / "a.yaml", trim_positions=20, skip_parity=True))
    state = torch.load(source / "a.pt")
    state[POSITIONS] = state[POSITIONS].roll(1, dims=2)
    torch.save(state, tmp_path / "rolled.pt")
    verification = verify(tmp_path / "out", tmp_path / "rolled.pt", source / "a.yaml")
    assert not verification.passed
    assert POSITIONS in str(verification.failure)
