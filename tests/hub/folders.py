"""A folder that looks converted: its files are listed with their checksums, and parity is said to hold."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteformer_convert.output.folder import record_files, write_json

CARD = """\
---
library_name: transformers
license: mit
---

# A model

```python
classify = pipeline("image-classification", model=".", trust_remote_code=True)
```
"""
NAMES = (
    "config.json",
    "preprocessor_config.json",
    "configuration_byteformer.py",
    "modeling_byteformer.py",
    "inference_byteformer.py",
    "image_processing_byteformer.py",
    "byte_batch_byteformer.py",
)
PASSED = {"verdict": "passed"}


def make_folder(
    folder: Path, *, parity: Any = PASSED, card: str = CARD, weights: Mapping[str, int] | None = None, seed: int = 0
) -> Path:
    """Writes the folder; `weights` are sizes of weight files by name, filled with random bytes."""
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"{name}: {seed}\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    content = random.Random(seed)
    for name, size in (weights or {"model.safetensors": 300_000}).items():
        (folder / name).write_bytes(content.randbytes(size))
    write_report(folder, parity=parity)
    return folder


def write_report(folder: Path, **fields: Any) -> None:
    """A report that lists the files as they are now."""
    (folder / "conversion_report.json").unlink(missing_ok=True)
    files = [file.to_dict() for file in record_files(folder)]
    write_json(folder / "conversion_report.json", {"schema_version": 1, **fields, "files": files})
