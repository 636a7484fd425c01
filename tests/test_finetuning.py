"""Fine-tuning with transformers' Trainer and with PEFT, from a converted folder, as the README has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from byteformer_convert.loading import load_folder
from tests.folders import make_folder
from tests.sample_files import pixels

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "finetune_digits.py"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("model"), conv_kernel_size=4, window_sizes=[8], window_shifts=[0, 4] * 6)


def examples(count: int = 8, step: int = 2) -> list[dict[str, Any]]:
    """Files of 24 bytes and more; their class is whether their bytes are large."""
    return [
        {"input_ids": pixels(1, 24 + step * index, 1, index).reshape(-1) // 2 + 127 * (index % 2), "labels": index % 2}
        for index in range(count)
    ]


def arguments(output: Path, **changes: Any) -> TrainingArguments:
    settings = {
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    return TrainingArguments(str(output), **settings | changes)


def gradients(folder: Path, output: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """What one optimizer step moves, in plain SGD: as good as the gradients, and what Trainer really did."""
    loaded = load_folder(folder)
    model = loaded.model
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = Trainer(
        model,
        arguments(output, max_steps=1, optim="sgd", learning_rate=1.0, max_grad_norm=0, **changes),
        # Of one length: in batches padded to other lengths, CoreNet's arithmetic gives other numbers.
        train_dataset=examples(step=0),
        data_collator=loaded.processor.pad,
    )
    trainer.train()
    return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], relative: float) -> None:
    for name, value in one.items():
        scale = value.abs().max().item() + 1e-6
        if name.endswith("k_proj.bias"):  # zero but for rounding: the softmax does not see what all keys have in common
            scale = one[name.replace("k_proj", "q_proj")].abs().max().item() / 100
            assert value.abs().max().item() <= relative * scale, name
        assert (value - other[name]).abs().max().item() <= relative * scale, name


@pytest.mark.slow
def test_the_digits_example_learns_resumes_and_saves_a_whole_folder(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "digits"
    command = [sys.executable, SCRIPT, folder, "--output", output, "--epochs"]
    first = subprocess.run([*map(str, command), "1"], capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    state = next(output.glob("checkpoints/checkpoint-44/trainer_state.json"))
    assert json.loads(state.read_text())["epoch"] == 1
    resumed = subprocess.run([*map(str, command), "2", "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    state = next(output.glob("checkpoints/checkpoint-88/trainer_state.json"))
    history = [entry["eval_accuracy"] for entry in json.loads(state.read_text())["log_history"] if "eval_loss" in entry]
    assert len(history) == 2, "the second run went on, it did not begin anew"
    assert max(history) > 0.3, "chance is 0.1; the README's six epochs reach more than 0.9"
    assert f"{max(history):.1%}" in resumed.stdout, "the best checkpoint, not the last, is what is saved"

    loaded = load_folder(output)  # refuses a folder whose code is not, byte for byte, this version's
    assert loaded.labels[:3] == ("zero", "one", "two")
    files = {file.name for file in output.glob("*.*")}
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= files
    predict = [sys.executable, "-m", "byteformer_convert", "predict", output, output / "example.pgm", "--raw", "--json"]
    found = subprocess.run(list(map(str, predict)), capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["files"][0]["bytes"] == 75


def test_a_new_head_takes_the_backbone_along(folder: Path) -> None:
    loaded = load_folder(folder)
    new = type(loaded.model).from_pretrained(folder, num_labels=2, ignore_mismatched_sizes=True)
    assert new.classifier.weight.shape == (2, 192)
    assert len(new.config.id2label) == 2
    for name, parameter in new.byteformer.named_parameters():
        assert torch.equal(parameter, loaded.model.byteformer.get_parameter(name)), name


def test_the_collators_pad_as_corenet_does(folder: Path, tmp_path: Path) -> None:
    batch = load_folder(folder).processor.pad(examples(2))
    assert batch["input_ids"][0, 24:].tolist() == [-1, -1]
    assert batch["attention_mask"].sum(1).tolist() == [24, 26]
    extractor = load_folder(make_folder(tmp_path, "audio")).processor
    batch = DataCollatorWithPadding(extractor)(examples(2))
    assert batch["input_ids"][0, 24:].tolist() == [-1, -1]
    assert batch["labels"].tolist() == [0, 1]


@pytest.mark.slow
def test_accumulated_and_checkpointed_gradients_are_the_same(folder: Path, tmp_path: Path) -> None:
    plain = gradients(folder, tmp_path, per_device_train_batch_size=8)
    accumulated = gradients(folder, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert_close(plain, accumulated, 1e-3)
    assert plain["byteformer.layers.0.attention.q_proj.weight"].abs().max() > 0
    assert_close(plain, gradients(folder, tmp_path, per_device_train_batch_size=8, gradient_checkpointing=True), 1e-3)


@pytest.mark.slow
def test_mixed_precision_trains(folder: Path, tmp_path: Path) -> None:
    moved = gradients(folder, tmp_path, bf16=True)
    assert all(torch.isfinite(value).all() for value in moved.values())
    assert moved["classifier.weight"].abs().max() > 0
    assert moved["classifier.weight"].dtype == torch.float32


@pytest.mark.slow
def test_lora_trains_the_attention_projections_alone(folder: Path, tmp_path: Path) -> None:
    loaded = load_folder(folder)
    config = LoraConfig(target_modules=ATTENTION, modules_to_save=["classifier"], r=4)
    model = get_peft_model(load_folder(folder).model, config)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len([name for name in trainable if "lora_" in name]) == 12 * 4 * 2
    assert all("lora_" in name or "classifier" in name for name in trainable)
    trainer = Trainer(
        model, arguments(tmp_path, max_steps=4), train_dataset=examples(), data_collator=loaded.processor.pad
    )
    trainer.train()
    model.save_pretrained(tmp_path / "adapter")

    batch = loaded.processor.pad([{"input_ids": examples(1)[0]["input_ids"]}])
    again = PeftModel.from_pretrained(load_folder(folder).model, tmp_path / "adapter")
    with torch.no_grad():
        before, tuned, loaded_again = (part.eval()(**batch).logits for part in (loaded.model, model, again))
        merged = again.merge_and_unload()(**batch).logits
    assert (tuned - before).abs().max() > 1e-4
    assert torch.equal(loaded_again, tuned)
    assert np.allclose(merged, tuned, atol=1e-5)
