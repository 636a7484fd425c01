"""What a stranger does with a repository, who has transformers and nothing of this project. Run as a script.

Arguments: the repository, the folder that was pushed, where to write what each of the two computes. Prints the folder
of the snapshot, then what the card's own code prints.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import save_file
from transformers import AutoModelForImageClassification


class Blocker:
    """Hides the project where it is installed beside transformers, as it is in the tests' own environment."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "byteformer_convert":
            raise ModuleNotFoundError(f"{name} is hidden from a stranger", name=name)


sys.meta_path.insert(0, Blocker())
repo_id, folder, outputs = sys.argv[1:]

ids = torch.randint(0, 256, (2, 1001), generator=torch.Generator().manual_seed(0))
ids[1, 700:] = -1
logits = {}
for place in (repo_id, folder):
    model = AutoModelForImageClassification.from_pretrained(place, trust_remote_code=True).eval()
    with torch.no_grad():
        logits["remote" if place == repo_id else "local"] = model(ids).logits
save_file(logits, outputs)

snapshot = Path(snapshot_download(repo_id))
sys.stdout.write(f"{snapshot}\n")
card = (snapshot / "README.md").read_text(encoding="utf-8")
exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1])
