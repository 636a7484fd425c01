#!/usr/bin/env python3
"""Fine-tunes a converted image folder on scikit-learn's digits, read as the bytes of image files.

Needs the `train` extra and nothing of this package: it meets the folder as any user of transformers does.

    byteformer-convert demo --output demo-out
    python scripts/finetune_digits.py demo-out/converted --output digits
    byteformer-convert predict digits digits/example.pgm --raw
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments, set_seed

SEED = 0
# Files of 75 bytes become 36 tokens: with windows of 8 there is little padding to compute. No weight depends on them.
SHORT_FILES = {"window_sizes": [8] * 12, "window_shifts": [0, 4] * 6}
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def image_file(pixels: np.ndarray) -> bytes:
    """An 8 x 8 grey image (0 to 16) as the bytes of a PGM file."""
    file = io.BytesIO()
    Image.fromarray((pixels * 15).astype(np.uint8)).save(file, format="PPM")
    return file.getvalue()


def digits(processor: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """1,397 examples to train on and 400 to evaluate on: file bytes and their class."""
    data = load_digits()
    ids = processor([image_file(pixels) for pixels in data.images], raw=True)["input_ids"]
    examples = [{"input_ids": row, "labels": int(label)} for row, label in zip(ids, data.target, strict=True)]
    train, test = train_test_split(examples, test_size=400, random_state=SEED, stratify=data.target)
    return train, test


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a converted image folder")
    parser.add_argument("--output", type=Path, default=Path("digits"), help="where the best model goes")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output")
    options = parser.parse_args()

    set_seed(SEED)
    processor = AutoImageProcessor.from_pretrained(options.folder, trust_remote_code=True)
    processor.file_encoding = None  # from now on it reads files as they are
    model = AutoModelForImageClassification.from_pretrained(
        options.folder,
        trust_remote_code=True,
        id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
        ignore_mismatched_sizes=True,  # a new classifier, for 10 classes
        **SHORT_FILES,
    )
    train, test = digits(processor)
    trainer = Trainer(
        model,
        TrainingArguments(
            str(options.output / "checkpoints"),
            num_train_epochs=options.epochs,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=100,
            learning_rate=1e-3,
            warmup_steps=44,  # one epoch; with few it stays at chance
            weight_decay=0.05,
            lr_scheduler_type="cosine",
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=2,  # the best and the last
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            report_to="none",
            use_cpu=True,
            seed=SEED,
        ),
        train_dataset=train,
        eval_dataset=test,
        data_collator=processor.pad,  # pads as CoreNet does: with -1, to the longest of the batch
        processing_class=processor,  # so that every checkpoint is a whole folder
        compute_metrics=accuracy,
    )
    trainer.train(resume_from_checkpoint=options.resume)
    print(f"Accuracy on 400 digits that it has not seen: {trainer.evaluate()['eval_accuracy']:.1%}")
    trainer.save_model(str(options.output))
    (options.output / "example.pgm").write_bytes(bytes(test[0]["input_ids"].tolist()))


if __name__ == "__main__":
    main()
