"""Whether a folder's config.json describes the model that its weights are of.

A model is built as large as config.json says, before anybody looks at the weights: a number too much costs terabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from byteformer_convert.mapping.way_back import CONFIG_DEFAULTS

Shape = tuple[int, ...]

_EMBEDDINGS: Final = "byteformer.embeddings."
# Where the weights say how large each field is: a tensor, and which of its dimensions.
_SIZES: Final = (
    ("vocab_size", _EMBEDDINGS + "byte_embeddings.weight", 0),
    ("hidden_size", _EMBEDDINGS + "byte_embeddings.weight", 1),
    ("conv_kernel_size", _EMBEDDINGS + "projection.weight", 2),
    ("max_position_embeddings", _EMBEDDINGS + "position_embeddings", 0),
    ("intermediate_size", "byteformer.layers.0.mlp.fc1.weight", 0),
    ("num_labels", "classifier.weight", 0),
)
_LAYER: Final = re.compile(r"byteformer\.layers\.([0-9]{1,6})\.")
_LABELS: Final = 2  # transformers' default


def weights_misfits(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> Iterator[str]:
    """Where the two depart in size, one sentence each.

    Args:
        config: A config.json of the kinds of values that it should have.
        shapes: Of the folder's tensors, by name.
    """
    for field, tensor, dimension in _SIZES:
        shape = shapes.get(tensor)
        if shape is None or len(shape) <= dimension:
            yield f"the weights hold no {tensor} of a ByteFormer"
        elif (said := _said(config, field)) != shape[dimension]:
            yield f"config.json says {field} {said}, the weights are of {shape[dimension]}"
    layers = {int(found[1]) for name in shapes if (found := _LAYER.match(name))}
    if layers != set(range(said := _said(config, "num_hidden_layers"))):
        yield f"config.json says num_hidden_layers {said}, the weights are of {len(layers)}"


def _said(config: Mapping[str, Any], field: str) -> int:
    if field == "num_labels":
        labels = config.get("id2label")
        return len(labels) if labels is not None else config.get("num_labels") or _LABELS
    said: int = config.get(field, CONFIG_DEFAULTS.get(field))
    return said
