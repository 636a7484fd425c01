"""A converted folder in a process that has transformers and nothing of this package: Auto classes and pipelines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from byteformer_convert.bundled.feature_extraction_byteformer import encode_wav
from byteformer_convert.loading import load_folder
from byteformer_convert.prediction import predict
from tests.folders import make_folder
from tests.sample_files import sample_images, sample_sounds

LABELS = ("ant", "bee", "cat", "dog", "emu")
SAME = 2e-6  # a probability, computed in batches of another size; seen 2e-7

IMAGE_STRANGER = """
import json, sys
sys.modules["byteformer_convert"] = None  # importing it fails from here on
import torch, transformers
from PIL import Image
from transformers import (
    AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoProcessor, pipeline
)

transformers.utils.logging.disable_progress_bar()
folder, *files = sys.argv[1:]
trust = {"trust_remote_code": True}
config = AutoConfig.from_pretrained(folder, **trust)
backbone, backbone_info = AutoModel.from_pretrained(folder, output_loading_info=True, **trust)
model, info = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True, **trust)
processor = AutoImageProcessor.from_pretrained(folder, **trust)
with torch.no_grad():
    inputs = processor(files, return_tensors="pt")
    logits = model(**inputs).logits
    encoded = backbone(**inputs)
pipe = pipeline("image-classification", model=folder, top_k=None, **trust)
half = pipeline("image-classification", model=folder, top_k=1, dtype=torch.bfloat16, **trust)
print(json.dumps({
    "classes": [type(part).__name__ for part in (
        config, backbone, model, processor, AutoProcessor.from_pretrained(folder, **trust)
    )],
    "left": [sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys")],
    "backbone left": [sorted(map(str, backbone_info[key])) for key in ("missing_keys", "unexpected_keys")],
    "pooled": (model.classifier(encoded.pooler_output) - logits).abs().max().item(),
    "mask fits": encoded.token_mask.shape == encoded.last_hidden_state.shape[:2],
    "paths": pipe(files),
    "batches": pipe([Image.open(file) for file in files], batch_size=3),
    "one": pipe(files[0]),
    "half": half(files[0]),
}))
"""

AUDIO_STRANGER = """
import json, shutil, sys, wave
sys.modules["byteformer_convert"] = None
import numpy as np, transformers
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, AutoProcessor, pipeline

transformers.utils.logging.disable_progress_bar()
folder, *files = sys.argv[1:]
trust = {"trust_remote_code": True}
def read(file):
    with wave.open(file) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 2**15
model = AutoModelForAudioClassification.from_pretrained(folder, **trust)
pipe = pipeline("audio-classification", model=folder, top_k=None, **trust)
print(json.dumps({
    "classes": [type(part).__name__ for part in (
        model,
        AutoFeatureExtractor.from_pretrained(folder, **trust),
        AutoProcessor.from_pretrained(folder, **trust),
    )],
    "paths": pipe(files) if shutil.which("ffmpeg") else None,  # which the pipeline decodes files with
    "batches": pipe([{"raw": read(file), "sampling_rate": 16000} for file in files], batch_size=3),
}))
"""


def stranger(script: str, folder: Path, files: list[Path]) -> dict[str, Any]:
    """What a process that cannot import this package reports."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HOME": str(folder.parent / "home"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", "-c", script, str(folder), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def expected(folder: Path, files: list[Path]) -> list[dict[str, float]]:
    """Each file's classes, as predict finds them one file at a time."""
    loaded = load_folder(folder)
    return [dict(predict(loaded, [file], top_k=9).files[0].top) for file in files]


def scores(answer: list[list[dict[str, Any]]]) -> list[dict[str, float]]:
    return [{item["label"]: item["score"] for item in items} for items in answer]


def assert_same(found: list[list[dict[str, Any]]], wanted: list[dict[str, float]]) -> None:
    assert len(found) == len(wanted)
    for have, want in zip(scores(found), wanted, strict=True):
        assert have == pytest.approx(want, abs=SAME)


@pytest.mark.slow
def test_auto_classes_and_the_image_pipeline(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, labels=LABELS)
    files = [tmp_path / f"{name}.png" for name in ("L", "RGB", "RGBA", "P", "wide")]
    for file in files:
        sample_images()[file.stem].save(file)
    Image.open(files[1]).save(tmp_path / "photo.jpg")
    files.append(tmp_path / "photo.jpg")

    seen = stranger(IMAGE_STRANGER, folder, files)
    processor = "ByteFormerImageProcessor"
    model = "ByteFormerForImageClassification"
    assert seen["classes"] == ["ByteFormerConfig", "ByteFormerModel", model, processor, processor]
    assert seen["left"] == [[], []]
    assert seen["backbone left"] == [[], ["classifier.bias", "classifier.weight"]]
    assert seen["pooled"] == 0
    assert seen["mask fits"]
    wanted = expected(folder, files)
    assert_same(seen["paths"], wanted)
    assert_same(seen["batches"], wanted)
    assert_same([seen["one"]], wanted[:1])
    best = max(wanted[0], key=wanted[0].__getitem__)
    assert seen["half"][0]["score"] == pytest.approx(wanted[0][best], abs=0.05), "bytes are no floats: they survive"


@pytest.mark.slow
def test_auto_classes_and_the_audio_pipeline(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "audio", labels=LABELS)
    files = [tmp_path / f"{name}.wav" for name in ("noise", "short", "long", "silence")]
    for file in files:
        file.write_bytes(encode_wav(sample_sounds()[file.stem], "int16", 16_000))

    seen = stranger(AUDIO_STRANGER, folder, files)
    extractor = "ByteFormerFeatureExtractor"
    assert seen["classes"] == ["ByteFormerForAudioClassification", extractor, extractor]
    wanted = expected(folder, files)
    assert_same(seen["batches"], wanted)
    if seen["paths"] is not None:
        assert_same(seen["paths"], wanted)
