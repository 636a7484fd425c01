"""Targets that read weights: torch's zip and legacy files, safetensors, and an adapter's folder."""

from __future__ import annotations

import io
import json
import random
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tests.hostile.attempt import Target
from tests.hostile.bounds import MEGABYTE, Bounds
from tests.hostile.commands import inspect_and_draw, written
from tests.hostile.zip_mutator import PICKLE_PIECES, mutate_bytes, mutate_zip

CONFIG = {
    "model_type": "causal_lm",
    "model.classification.name": "byteformer",
    "model.classification.byteformer.max_num_tokens": 60,
}


def read_checkpoint(data: bytes, place: Path) -> None:
    """The bytes are what `--weights` gives."""
    inspect_and_draw(weights=written(place, "x.pt", data))


def read_adapter_weights(data: bytes, place: Path) -> None:
    """The bytes are model.safetensors beside a good config.json."""
    written(place, "config.json", json.dumps(CONFIG).encode())
    written(place, "model.safetensors", data)
    inspect_and_draw(weights=place)


def read_adapter_index(data: bytes, place: Path) -> None:
    """The bytes are model.safetensors.index.json beside a good config.json and two good shards."""
    written(place, "config.json", json.dumps(CONFIG).encode())
    for shard, state in enumerate(_states()):
        written(place, f"model-{shard}.safetensors", save(state))
    written(place, "model.safetensors.index.json", data)
    inspect_and_draw(weights=place)


def saved(content: Any, *, zipped: bool = True, protocol: int = 2) -> bytes:
    """What torch.save makes of it."""
    target = io.BytesIO()
    torch.save(content, target, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return target.getvalue()


def contents() -> Iterator[Any]:
    """Every kind of content that CoreNet saves, small."""
    state, other = _states()
    yield OrderedDict(state)
    yield {"module.a": torch.ones(2, dtype=torch.float16), "module.b": torch.nn.Parameter(torch.ones(2, 2).t())}
    yield {"model_state_dict": state, "ema_state_dict": other, "epoch": 3, "best_metric": torch.tensor(0.5)}


def zip_seeds() -> Iterator[bytes]:
    """Each content as torch saves it."""
    return (saved(content) for content in contents())


def legacy_seeds() -> Iterator[bytes]:
    """The same as torch before 1.6 saved it."""
    return (saved(content, zipped=False) for content in contents())


def safetensors_seeds() -> Iterator[bytes]:
    """Two small files."""
    return (save(state) for state in _states())


def index_seeds() -> Iterator[bytes]:
    """The index that fits."""
    weight_map = {name: f"model-{shard}.safetensors" for shard, state in enumerate(_states()) for name in state}
    yield json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()


def mutate_legacy(data: bytes, longest: int, seed: int) -> bytes:
    """Another file like this one."""
    return mutate_bytes(data, random.Random(seed))[:longest]


def _states() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    state = {"embeddings.weight": torch.ones(5, 4), "transformer.0.pre_norm_mha.0.bias": torch.zeros(4)}
    return state, {"classifier.weight": torch.ones(3, 4, dtype=torch.bfloat16), "classifier.bias": torch.zeros(3)}


_BOUNDS = Bounds(memory=256 * MEGABYTE, memory_per_byte=16)
_SAFETENSORS = (
    b'"dtype":"F32"',
    b'"shape":[2,2]',
    b'"data_offsets":[0,16]',
    b'"__metadata__":{}',
    b"18446744073709551615",
)

CHECKPOINT_TARGETS = (
    Target("pt_zip", read_checkpoint, zip_seeds, mutate=mutate_zip, longest=1 << 15, bounds=_BOUNDS),
    Target("pt_legacy", read_checkpoint, legacy_seeds, mutate=mutate_legacy, words=PICKLE_PIECES, bounds=_BOUNDS),
    Target("safetensors", read_adapter_weights, safetensors_seeds, words=_SAFETENSORS, bounds=_BOUNDS),
    Target("adapter_index", read_adapter_index, index_seeds, words=(b"weight_map", b"model-0.safetensors", b"../x")),
)
