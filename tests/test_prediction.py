"""Predict: what a folder's model says of files, and what becomes of files that it cannot read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from byteformer_convert.bundled.feature_extraction_byteformer import encode_wav
from byteformer_convert.cli import app
from byteformer_convert.errors import FolderError, UsageError
from byteformer_convert.loading import LoadedFolder, load_folder
from byteformer_convert.prediction import BATCH_BYTES, WAITING_BYTES, Prediction, equal_lengths, predict
from tests.folders import make_folder
from tests.sample_files import pixels, sample_sounds

LABELS = ("ant", "bee", "cat", "dog", "emu")
SAME = 2e-6  # a probability, however many files went through the matrix products together; seen 3e-7


@pytest.fixture(scope="module")
def image_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("image"), labels=LABELS)


@pytest.fixture(scope="module")
def images(image_path: Path) -> LoadedFolder:
    return load_folder(image_path)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> LoadedFolder:
    return load_folder(make_folder(tmp_path_factory.mktemp("audio"), "audio"))


@pytest.fixture
def noisy(images: LoadedFolder, tmp_path: Path) -> LoadedFolder:
    """The same model, with noise added to the bytes."""
    processor = type(images.processor)(**images.processor.to_dict() | {"noise_range": [-20, 20]})
    return LoadedFolder(images.path, "image", images.model, processor, images.labels)


def image_file(path: Path, seed: int = 1, size: int = 48) -> Path:
    Image.fromarray(pixels(size, size, 3, seed)).save(path)
    return path


def sound_file(path: Path, name: str = "noise") -> Path:
    path.write_bytes(encode_wav(sample_sounds()[name], "int16", 16_000))
    return path


def probabilities(prediction: Prediction, file: int = 0) -> dict[str, float]:
    return dict(prediction.files[file].top)


def logits(loaded: LoadedFolder, stream: bytes) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(input_ids=torch.tensor([list(stream)])).logits[0]


def test_a_file_is_encoded_as_the_model_was_trained(images: LoadedFolder, tmp_path: Path) -> None:
    file = image_file(tmp_path / "a.jpg")
    found = predict(images, [file], top_k=9)
    encoded = images.processor(Image.open(file))["input_ids"][0]
    assert found.files[0].length == len(encoded)
    assert bytes(encoded[:4].tolist()) == b"\x89PNG"
    wanted = dict(zip(LABELS, logits(images, bytes(encoded.tolist())).softmax(-1).tolist(), strict=True))
    assert probabilities(found) == pytest.approx(wanted, abs=SAME)
    values = list(probabilities(found).values())
    assert values == sorted(values, reverse=True)
    assert len(predict(images, [file], top_k=2).files[0].top) == 2


def test_raw_feeds_the_files_own_bytes(images: LoadedFolder, tmp_path: Path) -> None:
    file = image_file(tmp_path / "a.jpg")
    found = predict(images, [file], raw=True)
    wanted = dict(zip(LABELS, logits(images, file.read_bytes()).softmax(-1).tolist(), strict=True))
    assert found.files[0].length == file.stat().st_size
    assert probabilities(found) == pytest.approx(wanted, abs=SAME)


def test_no_files_result_depends_on_its_neighbours(images: LoadedFolder, tmp_path: Path) -> None:
    files = []
    for index, length in enumerate([100, 777, 100, 1500, 777, 100]):
        files.append(tmp_path / f"{index}.bin")
        files[-1].write_bytes(pixels(1, length, 1, index).tobytes())
    together = predict(images, files, raw=True)
    assert [file.file for file in together.files] == files
    for index, file in enumerate(files):
        assert probabilities(together, index) == pytest.approx(
            probabilities(predict(images, [file], raw=True)), abs=SAME
        )


def test_files_of_one_length_go_together_within_bounds() -> None:
    lengths = [7, 5, 7, BATCH_BYTES, 7, 5]
    groups = [
        [index for index, _ in group] for group in equal_lengths((i, torch.zeros(n)) for i, n in enumerate(lengths))
    ]
    assert groups == [[3], [0, 2, 4], [1, 5]]


def test_files_do_not_wait_without_bound() -> None:
    lengths = [BATCH_BYTES - 1 - index for index in range(WAITING_BYTES // BATCH_BYTES + 2)]
    taken: list[int] = []

    def encoded() -> Any:
        for index, length in enumerate(lengths):
            taken.append(index)
            yield index, torch.empty(length, dtype=torch.uint8)

    next(equal_lengths(encoded()))
    assert len(taken) == WAITING_BYTES // BATCH_BYTES + 1


def test_a_bad_file_is_reported_and_the_rest_go_on(images: LoadedFolder, tmp_path: Path) -> None:
    good = image_file(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.png").write_text("not an image at all, but long enough to be one")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    bad = {
        "empty.png": "empty",
        "words.png": "give --raw",
        "cut.png": "cut short",
        ".": "is a folder",
        "no": "no such file",
    }
    steps: list[None] = []
    files = [*(tmp_path / name for name in bad), good]
    found = predict(images, files, advance=lambda: steps.append(None))
    for result, (name, words) in zip(found.files, bad.items(), strict=False):
        assert result.error is not None
        assert words in result.error.message
        assert result.error.where == str(tmp_path / name)
    assert found.files[-1].error is None
    assert len(found.errors) == 5
    assert len(steps) == 6


@pytest.mark.parametrize(("length", "words"), [(31, "at least 32"), (32_032, "at most 32,031")])
def test_a_length_that_the_model_cannot_read_is_a_bad_file(
    images: LoadedFolder, tmp_path: Path, length: int, words: str
) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * length)
    (result,) = predict(images, [file], raw=True).files
    assert result.error is not None
    assert f"holds {length:,} bytes" in result.error.message
    assert words in result.error.message
    assert result.error.hint


def test_the_longest_and_the_shortest_file_pass(images: LoadedFolder, tmp_path: Path) -> None:
    for length in (32, 32_031):
        (tmp_path / str(length)).write_bytes(b"x" * length)
    assert not predict(images, [tmp_path / "32", tmp_path / "32031"], raw=True).errors


def test_noise_comes_from_the_seed_and_not_from_the_neighbours(noisy: LoadedFolder, tmp_path: Path) -> None:
    files = [image_file(tmp_path / f"{index}.png", index) for index in range(3)]
    together = predict(noisy, files, seed=4)
    assert together.seed == 4
    assert probabilities(predict(noisy, files[2:], seed=4)) == pytest.approx(probabilities(together, 2), abs=SAME)
    assert probabilities(predict(noisy, files[2:], seed=5)) != pytest.approx(probabilities(together, 2), abs=SAME)
    assert predict(noisy, files, raw=True).seed is None


def test_a_folder_without_an_encoding_takes_raw_files_only(images: LoadedFolder, tmp_path: Path) -> None:
    processor = type(images.processor)()
    loaded = LoadedFolder(images.path, "image", images.model, processor, images.labels)
    file = image_file(tmp_path / "a.png")
    with pytest.raises(UsageError, match="--raw"):
        predict(loaded, [file])
    assert not predict(loaded, [file], raw=True).errors


def test_sounds_are_encoded_as_the_model_was_trained(sounds: LoadedFolder, tmp_path: Path) -> None:
    file = sound_file(tmp_path / "a.wav")
    found = predict(sounds, [file], top_k=9)
    samples = np.frombuffer(file.read_bytes()[44:], "<i2").astype(np.float32) / 2**15
    wanted = logits(sounds, encode_wav(samples, "uint8", 16_000)).softmax(-1).tolist()
    assert found.files[0].length == 16_044
    assert [probabilities(found)[f"LABEL_{index}"] for index in range(5)] == pytest.approx(wanted, abs=SAME)


def test_bad_sounds_are_reported_by_name(sounds: LoadedFolder, tmp_path: Path) -> None:
    good = sound_file(tmp_path / "good.wav")
    nan = tmp_path / "nan.wav"
    content = bytearray(encode_wav(sample_sounds()["noise"], "float32", 16_000))
    content[98:102] = np.float32("nan").tobytes()
    nan.write_bytes(content)
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:-5])
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "none.wav").write_bytes(good.read_bytes()[:40] + bytes(4))
    bad = {"nan": "NaN", "cut": "cut short", "text": "not a WAV file", "none": "empty"}
    found = predict(sounds, [tmp_path / f"{name}.wav" for name in bad] + [good])
    assert [error.where for error in found.errors] == [str(tmp_path / f"{name}.wav") for name in bad]
    for error, words in zip(found.errors, bad.values(), strict=True):
        assert words in error.message


def test_a_model_that_answers_nan_is_an_error(images: LoadedFolder, tmp_path: Path) -> None:
    file = image_file(tmp_path / "a.png")
    bias = images.model.classifier.bias
    before = bias.detach().clone()
    try:
        with torch.no_grad():
            bias[0] = float("nan")
        with pytest.raises(FolderError, match="NaN"):
            predict(images, [file])
    finally:
        with torch.no_grad():
            bias.copy_(before)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_shows_classes_with_bars(image_path: Path, tmp_path: Path) -> None:
    code, out, err = run(image_path, image_file(tmp_path / "a.png"), "--top-k", "2")
    assert code == 0, err
    lines = out.splitlines()
    assert "a.png" in out.replace("\n", "")
    assert sum(any(line.startswith(label) for label in LABELS) for line in lines) == 2
    assert "%" in lines[-1]
    assert "█" in out


def test_the_command_goes_on_after_a_bad_file_and_exits_with_3(image_path: Path, tmp_path: Path) -> None:
    good = image_file(tmp_path / "a.png")
    code, out, err = run(image_path, tmp_path / "no.png", good, "--json")
    document = json.loads(out)
    assert code == 3
    assert document["schema_version"] == 1
    assert document["failed"] == 1
    assert document["files"][0]["error"]["where"] == str(tmp_path / "no.png")
    assert sorted(item["label"] for item in document["files"][1]["top"]) == sorted(LABELS)
    assert "no.png" in err
    assert "1 of 2 files" in err
    code, out, err = run(image_path, tmp_path / "no.png", good, "--quiet")
    assert (code, out) == (3, "")
    assert "no.png" in err


@pytest.mark.slow
def test_changed_code_is_run_on_request_only(image_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(image_path, folder)
    witness = tmp_path / "it ran"
    code_file = folder / "modeling_byteformer.py"
    code_file.write_text(code_file.read_text() + f"\nopen({str(witness)!r}, 'w').close()\n")
    file = image_file(tmp_path / "a.png")
    code, _, err = run(folder, file)
    assert code == 3
    assert "modeling_byteformer.py" in err
    assert "--trust-remote-code" in err
    assert not witness.exists()
    # In a process of its own: once transformers has loaded a ByteFormer, it takes that one's classes for every other.
    command = [sys.executable, "-m", "byteformer_convert", "predict", folder, file, "--trust-remote-code", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert witness.exists()
    found, wanted = (
        json.loads(text)["files"][0]["top"] for text in (result.stdout, run(image_path, file, "--json")[1])
    )
    assert [item["label"] for item in found] == [item["label"] for item in wanted]


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, image_file(tmp_path / "a.png"))
    assert code == 3
    assert "config.json cannot be read" in err
