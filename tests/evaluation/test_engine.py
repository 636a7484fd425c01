"""Evaluations from end to end, against the same numbers computed by hand with the folder's model and processor."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner, Result

from byteformer_convert.bundled.feature_extraction_byteformer import encode_wav
from byteformer_convert.cli import app
from byteformer_convert.errors import (
    CheckpointError,
    FileInputError,
    FolderError,
    LabelsError,
    OutputError,
    UsageError,
)
from byteformer_convert.evaluation import engine
from byteformer_convert.evaluation.request import EvaluationRequest
from byteformer_convert.evaluation.scoring import PRECISION_SAMPLE, Scorer
from byteformer_convert.loading import LoadedFolder, load_folder
from tests.evaluation.worlds_of_files import BROKEN, CLASSES, write_images, write_raw
from tests.folders import make_folder
from tests.sample_files import sample_sounds

if TYPE_CHECKING:
    from byteformer_convert.evaluation.result import Evaluation

LENGTHS = [90, 60, 90, 71, 130, 90, 60, 45, 100, 101, 102, 90, 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("model"), labels=CLASSES)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedFolder:
    return load_folder(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), LENGTHS)


def run(folder: Path, data: Path, **options: Any) -> Evaluation:
    outcome = engine.evaluate(EvaluationRequest(folder, data, **{"workers": 0, "batch_size": 4} | options))
    assert outcome is not None
    return outcome.evaluation


def run_raw(folder: Path, data: Path, **options: Any) -> Evaluation:
    return run(folder, data, raw=True, **options)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def logits_by_hand(model: Any, loaded: LoadedFolder, batches: list[list[Path]], *, raw: bool) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(
            [model(loaded.processor(batch, raw=raw, return_tensors="pt")["input_ids"]).logits for batch in batches]
        )


def in_fours(files: list[Path]) -> list[list[Path]]:
    return [files[start : start + 4] for start in range(0, len(files), 4)]


def assert_scores(evaluation: Evaluation, at: int, logits: torch.Tensor, rows: list[int]) -> None:
    """The result is what these logits say."""
    score, want = evaluation.scores[at], torch.tensor(rows)
    predicted = logits.argmax(dim=1)
    assert score.top1.of == len(rows)
    assert score.top1.count == int((predicted == want).sum())
    assert score.loss.value == pytest.approx(float(F.cross_entropy(logits, want)), abs=1e-5)
    pairs = list(zip(rows, predicted.tolist(), strict=True))
    assert {(cell.row, cell.predicted): cell.count for cell in score.confusion} == {
        pair: pairs.count(pair) for pair in pairs
    }


def raw_files(data: Path) -> list[Path]:
    return [data.parent / f"{index}.bin" for index in range(len(LENGTHS))]


RAW_ROWS = [index % len(CLASSES) for index in range(len(LENGTHS))]


def test_images_are_scored_in_corenets_batches_without_the_broken_one(
    folder: Path, loaded: LoadedFolder, images: Path
) -> None:
    evaluation = run(folder, images)
    files = sorted(images.glob("*/*.png"))
    batches = [[path for path in batch if path != images / BROKEN] for batch in in_fours(files)]
    rows = [CLASSES.index(path.parent.name) for batch in batches for path in batch]
    assert_scores(evaluation, 0, logits_by_hand(loaded.model, loaded, batches, raw=False), rows)
    assert evaluation.files == len(files)
    assert evaluation.broken_count == 1
    assert evaluation.broken[0].name == BROKEN
    assert "cut short" in evaluation.broken[0].reason


def test_a_card_that_cannot_be_written_is_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw: Path
) -> None:
    crowded = make_folder(tmp_path, labels=CLASSES)
    (crowded / "notes.txt").write_text("mine")
    monkeypatch.setattr(engine._Run, "outcome", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(OutputError, match=r"holds notes\.txt") as caught:
        run_raw(crowded, raw, write_card=True)
    assert "--write-card" in caught.value.hint
    assert "--force" not in str(caught.value)
    (crowded / "README.md").unlink()
    with pytest.raises(FolderError, match="card or its report"):
        run_raw(crowded, raw, write_card=True)


def test_numbers_do_not_go_into_the_card_of_another_model(tmp_path: Path, raw: Path) -> None:
    """A folder may be converted anew while it is evaluated for hours."""
    measured = make_folder(tmp_path, labels=CLASSES)

    def replace(said: str) -> None:
        if said.startswith("Writing the numbers"):
            weights = measured / "model.safetensors"
            content = weights.read_bytes()
            weights.unlink()
            weights.write_bytes(content[:-4] + bytes(4))

    before = (measured / "README.md").read_bytes()
    request = EvaluationRequest(measured, raw, raw=True, write_card=True, workers=0)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: this file was written to"):
        engine.evaluate(request, replace)
    assert (measured / "README.md").read_bytes() == before


def test_what_encodes_mp3_is_asked_for_before_any_file_is_read(
    monkeypatch: pytest.MonkeyPatch, folder: Path, loaded: LoadedFolder, images: Path, raw: Path
) -> None:
    monkeypatch.setattr(loaded.processor, "file_format", "mp3", raising=False)
    monkeypatch.setattr(engine, "load_folder", lambda *_, **__: loaded)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="PyAV"):
        run(folder, images)
    assert run_raw(folder, raw).files == len(LENGTHS)


def test_padding_moves_the_result_as_it_does_in_corenet(folder: Path, loaded: LoadedFolder, raw: Path) -> None:
    evaluation = run_raw(folder, raw)
    logits = logits_by_hand(loaded.model, loaded, in_fours(raw_files(raw)), raw=True)
    assert_scores(evaluation, 0, logits, RAW_ROWS)
    alone = logits_by_hand(loaded.model, loaded, [[path] for path in raw_files(raw)], raw=True)
    assert not torch.allclose(logits, alone, atol=1e-3)  # else this test shows nothing


@pytest.mark.parametrize("batch_size", [4, 13])
def test_unpadded_files_are_scored_as_if_alone(folder: Path, loaded: LoadedFolder, raw: Path, batch_size: int) -> None:
    evaluation = run_raw(folder, raw, padded=False, batch_size=batch_size)
    assert_scores(
        evaluation, 0, logits_by_hand(loaded.model, loaded, [[path] for path in raw_files(raw)], raw=True), RAW_ROWS
    )
    assert evaluation.batches.startswith("no file is padded")


def test_arithmetics_are_compared_over_the_same_batches(folder: Path, loaded: LoadedFolder, raw: Path) -> None:
    evaluation = run_raw(folder, raw, compare="mask_padding,mask_padding+last_axis_layer_norm")
    for at, switches in enumerate([{}, {"mask_padding": True}, {"mask_padding": True, "last_axis_layer_norm": True}]):
        model = type(loaded.model).from_pretrained(folder, **switches).eval()
        assert_scores(evaluation, at, logits_by_hand(model, loaded, in_fours(raw_files(raw)), raw=True), RAW_ROWS)


def test_files_that_meet_the_norm_are_counted_and_scored(folder: Path, tmp_path: Path) -> None:
    lengths = [16 * 191 + 32, 16 * 192 + 32 - 1, 16 * 192 + 32, 500]  # 192, 192, 193 tokens for 192 channels
    data = write_raw(tmp_path, lengths)
    unmerged = make_folder(tmp_path, downsample=[False] * 12)
    evaluation = run(unmerged, data, raw=True, padded=False, compare="last_axis_layer_norm")
    assert [score.meeting_norm.of for score in evaluation.scores] == [2, 2]
    assert evaluation.faithful.missing_norm.of == 2
    sentence = evaluation.norm_sentence()
    assert sentence.startswith("2 of 4 files (50.00%) meet CoreNet's axis-1 LayerNorm")
    assert "with last_axis_layer_norm those files score" in sentence


@pytest.mark.parametrize(("masked", "meeting"), [(False, 2), (True, 1)])
def test_padding_counts_for_the_norm_unless_it_is_masked(tmp_path: Path, masked: bool, meeting: int) -> None:
    data = write_raw(tmp_path, [16 * 191 + 32, 500])
    folder = make_folder(tmp_path, downsample=[False] * 12)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"mask_padding": masked}), encoding="utf-8")
    assert run(folder, data, raw=True).faithful.meeting_norm.of == meeting


def test_sounds_are_scored_from_corenets_manifest(tmp_path: Path) -> None:
    commands = ("down", "no", "yes")
    folder = make_folder(tmp_path, "audio", classes=3, labels=commands)
    sounds = [("noise", "yes"), ("loud", "no"), ("short", "down"), ("quiet", "no")]
    lines = []
    for name, label in sounds:
        (tmp_path / f"{name}.wav").write_bytes(encode_wav(sample_sounds()[name], "int16", 16_000))
        lines.append(json.dumps({"audio_filepath": f"{name}.wav", "duration": 1.0, "command": label}))
    (tmp_path / "manifest.json").write_text("\n".join(lines), encoding="utf-8")
    loaded = load_folder(folder)
    logits = logits_by_hand(loaded.model, loaded, [[tmp_path / f"{name}.wav" for name, _ in sounds]], raw=False)
    rows = [commands.index(label) for _, label in sounds]
    assert_scores(run(folder, tmp_path / "manifest.json"), 0, logits, rows)


def test_the_first_files_can_be_taken_alone(folder: Path, raw: Path) -> None:
    evaluation = run_raw(folder, raw, limit=6)
    assert (evaluation.files, evaluation.scored) == (6, 6)


def test_mixed_precision_is_in_force_and_its_difference_is_measured(folder: Path, raw: Path) -> None:
    evaluation = run_raw(folder, raw, mixed_precision="bf16", batch_size=1, limit=PRECISION_SAMPLE)
    effect = evaluation.precision
    assert effect is not None
    assert (effect.precision, effect.files) == ("bf16", 1)  # every 16th batch of one file
    assert 1e-5 < effect.max_difference < 1
    assert evaluation.faithful.loss.value != run_raw(folder, raw, batch_size=1).faithful.loss.value


def test_workers_change_nothing(folder: Path, images: Path) -> None:
    assert run(folder, images, workers=2) == run(folder, images)


# --- kill and resume ---


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def dies_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Lets so many batches through; says how many were scored."""
    score, seen = Scorer.score, []

    def scored(self: Scorer, encoded: Any) -> Any:
        if len(seen) == batches:
            raise Killed
        seen.append(encoded.batch)
        return score(self, encoded)

    monkeypatch.setattr(Scorer, "score", scored)
    return lambda: len(seen)


@pytest.mark.parametrize("died_after", [0, 1, 3])
def test_a_killed_evaluation_goes_on_where_it_was(
    folder: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died_after: int
) -> None:
    whole = run_raw(folder, raw)
    journal = tmp_path / "journal.jsonl"
    dies_after(died_after, monkeypatch)
    with pytest.raises(Killed):
        run_raw(folder, raw, journal=journal)
    monkeypatch.undo()
    scored = dies_after(100, monkeypatch)
    assert run_raw(folder, raw, journal=journal) == whole
    assert scored() == 4 - died_after
    assert run_raw(folder, raw, journal=journal) == whole
    assert scored() == 4 - died_after


def test_a_journal_of_other_weights_is_refused(folder: Path, raw: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    run_raw(folder, raw, journal=journal)
    other = make_folder(tmp_path, labels=CLASSES, max_num_tokens=1999)
    with pytest.raises(FileInputError, match="folder was"):
        run_raw(other, raw, journal=journal)


def test_a_finished_journal_is_not_said_to_be_evaluated(folder: Path, raw: Path, tmp_path: Path) -> None:
    request = EvaluationRequest(folder, raw, raw=True, workers=0, batch_size=4, journal=tmp_path / "j.jsonl")
    said: list[str] = []
    engine.evaluate(request, said.append)
    assert "Evaluating 13 files" in said
    said.clear()
    engine.evaluate(request, said.append)
    assert "13 of 13 files were done before" in said
    assert not any("Evaluating" in sentence for sentence in said)


# --- what is refused ---


def test_a_mismatch_of_classes_is_an_error_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "ant").rename(tmp_path / "fly")
    with pytest.raises(LabelsError, match="fly"):
        run(folder, tmp_path)


def test_data_of_broken_files_alone_is_an_error(folder: Path, raw: Path) -> None:
    words = r"none of its 13 files can be used; the first: 0\.bin: not an image.*give --raw"
    with pytest.raises(FileInputError, match=words):
        run(folder, raw)


def test_changed_code_is_not_run(tmp_path: Path, raw: Path) -> None:
    folder = make_folder(tmp_path)
    with (folder / "modeling_byteformer.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    with pytest.raises(FolderError, match="modeling_byteformer"):
        run_raw(folder, raw)
    assert run_raw(folder, raw, trust_remote_code=True).scored == len(LENGTHS)


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path, raw: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_folder(tmp_path)
    state = load_file(folder / "model.safetensors")
    state["classifier.bias"][0] = float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FolderError, match="not all numbers"):
        run_raw(folder, raw)


def test_processes_that_do_not_find_each_other_are_an_error(
    folder: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_raw(folder, raw, limit=1)  # accelerate looks once
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 processes were started, of which 1 found"):
        run_raw(folder, raw)


def test_machines_that_see_other_data_are_an_error(folder: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate.utils

    def gathered(objects: list[Any]) -> list[Any]:
        return [*objects, *(one | {"data": "other"} for one in objects if isinstance(one, dict))]

    monkeypatch.setattr(accelerate.utils, "gather_object", gathered)
    with pytest.raises(FileInputError, match="do not see the same data"):
        run_raw(folder, raw)


# --- the command ---


def test_the_command_prints_one_document(folder: Path, images: Path) -> None:
    result = command(folder, "--data", images, "--workers", "0", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["schema_version"] == 1
    assert document["batches"]["sentence"].endswith("as CoreNet evaluates")
    assert document["data"] == {"path": str(images), "kind": "class folders", "files": 13, "scored": 12}
    assert document["broken"]["count"] == 1
    assert "files/s" in result.stderr


def test_the_command_draws_tables(folder: Path, images: Path) -> None:
    result = command(folder, "--data", images, "--workers", "0", "--compare", "mask_padding")
    assert result.exit_code == 0
    for text in ("faithful", "mask_padding", "Mixed up most often", BROKEN, "axis-1 LayerNorm"):
        assert text in result.stdout


def test_the_command_exits_with_3_where_the_data_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    result = command(folder, "--data", tmp_path, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["kind"] == "file"


# --- CoreNet's own accuracy ---


def test_the_trained_checkpoint_scores_what_corenet_measured(shared: Path, tmp_path: Path) -> None:
    data = digits_data(shared, tmp_path)
    evaluation = run(digits_folder(shared, tmp_path), data, raw=True, batch_size=40)
    assert evaluation.faithful.top1.value == 0.95  # `acc` in digits_test.npz, CoreNet's in batches of 40


def digits_folder(shared: Path, tmp_path: Path) -> Path:
    from byteformer_convert.conversion import Request, convert

    source = shared / "trained" / "digits_fhwc_k4_w32"
    request = Request(source.with_suffix(".pt"), tmp_path / "digits", source.with_suffix(".yaml"), skip_parity=True)
    return convert(request).output


def digits_data(shared: Path, tmp_path: Path) -> Path:
    """The 400 test inputs as files of raw bytes, and their list."""
    import numpy as np

    with np.load(shared / "trained" / "digits_test.npz") as arrays:
        rows, labels = arrays["ids"], arrays["labels"]
    for index, row in enumerate(rows):
        (tmp_path / f"{index:03}.bin").write_bytes(row[row >= 0].astype(np.uint8).tobytes())
    path = tmp_path / "digits.txt"
    path.write_text("".join(f"{index:03}.bin\t{label}\n" for index, label in enumerate(labels)), encoding="utf-8")
    return path
