"""The processors as a stranger meets them: Auto classes and pipelines, from a folder, this package out of reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import byteformer_convert.bundled
from byteformer_convert.corenet.options import options_from_mapping
from byteformer_convert.mapping.config import config_json
from byteformer_convert.mapping.processor import processor_fields

BUNDLED = Path(byteformer_convert.bundled.__file__).parent
LAYERS = {"window_sizes": [32], "window_shifts": [0, 16] * 6, "conv_kernel_size": 32, "max_num_tokens": 9000}
MODEL = {f"model.classification.byteformer.{key}": value for key, value in LAYERS.items()} | {
    "model.classification.n_classes": 5
}
IMAGE = {
    "model.classification.name": "byteformer",
    "image_augmentation.resize.enable": True,
    "image_augmentation.center_crop.enable": True,
    "image_augmentation.pil_save.enable": True,
    "image_augmentation.pil_save.file_encoding": "JPEG",
}
AUDIO = {
    "dataset.category": "audio_classification",
    "model.audio_classification.name": "byteformer",
    "audio_augmentation.torchaudio_save.enable": True,
    "audio_augmentation.torchaudio_save.encoding_dtype": "uint8",
}

STRANGER = """
import json, sys
import numpy as np, torch, transformers
from transformers import AutoConfig, AutoProcessor, pipeline

sys.modules["byteformer_convert"] = None  # importing it fails from here on
task, folder = sys.argv[1:]
trust = {"trust_remote_code": True}
torch.manual_seed(0)
Model = getattr(transformers, f"AutoModelFor{task.title()}Classification")
Auto = {"image": transformers.AutoImageProcessor, "audio": transformers.AutoFeatureExtractor}[task]
model = Model.from_config(AutoConfig.from_pretrained(folder, **trust), **trust).eval()
model.save_pretrained(folder)
processor = Auto.from_pretrained(folder, **trust)
assert type(AutoProcessor.from_pretrained(folder, **trust)) is type(processor)

if task == "image":
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    inputs = [noise, noise // 3]
    batch = processor(inputs, return_tensors="pt")
else:
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 5
    inputs = [noise, noise[:7000]]
    batch = processor(inputs, sampling_rate=16000, return_tensors="pt")
with torch.no_grad():
    want = model(**batch).logits.softmax(-1)
pipe = pipeline(f"{task}-classification", model=folder, top_k=None, **trust)
worst = 0.0
for row, answer in zip(want, pipe(inputs, batch_size=2)):
    for item in answer:
        worst = max(worst, abs(item["score"] - float(row[model.config.label2id[item["label"]]])))

processor.save_pretrained(folder + "-again")
again = Auto.from_pretrained(folder + "-again", **trust)
print(json.dumps({
    "class": type(processor).__name__,
    "lengths": batch["attention_mask"].sum(1).tolist(),
    "padding": sorted(set(batch["input_ids"][batch["attention_mask"] == 0].tolist())),
    "worst": worst,
    "round trip": again.to_dict() == processor.to_dict(),
}))
"""


def stranger_sees(tmp_path: Path, task: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a process that has only the folder reports."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for file in BUNDLED.glob("*_byteformer.py"):
        shutil.copy(file, folder)
    corenet = options_from_mapping(MODEL | options, source="c.yaml")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor_fields(corenet)))
    config = config_json(corenet, [f"label {index}" for index in range(5)], "float32")
    (folder / "config.json").write_text(json.dumps(config))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", "-c", STRANGER, task, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
def test_an_image_folder(tmp_path: Path) -> None:
    seen = stranger_sees(tmp_path, "image", IMAGE)
    assert seen["class"] == "ByteFormerImageProcessor"
    assert seen["padding"] == [-1]
    assert len(set(seen["lengths"])) == 2
    assert seen["worst"] < 1e-6, "the pipeline must pad a batch as CoreNet does"
    assert seen["round trip"]


@pytest.mark.slow
def test_an_audio_folder(tmp_path: Path) -> None:
    seen = stranger_sees(tmp_path, "audio", AUDIO)
    assert seen["class"] == "ByteFormerFeatureExtractor"
    assert seen["lengths"] == [16_044, 16_044]
    assert seen["worst"] < 1e-6
    assert seen["round trip"]
