"""Tiny worlds: options, configs and models from plain functions, small enough to reason about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import yaml

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.bundled.modeling_byteformer import (
    ByteFormerForAudioClassification,
    ByteFormerForImageClassification,
)
from byteformer_convert.corenet.options import CoreNetOptions, options_from_mapping
from byteformer_convert.mapping.config import model_fields
from byteformer_convert.mapping.weights import map_weights, source_names, unmap_weights
from byteformer_convert.reference import CoreNetByteFormer

if TYPE_CHECKING:
    from torch import Tensor

    from tests.golden_cases import GoldenCase

MODEL_CLASSES = {"image": ByteFormerForImageClassification, "audio": ByteFormerForAudioClassification}
BYTEFORMER = "model.classification.byteformer."


def make_options(source: str = "c.yaml", **changes: Any) -> CoreNetOptions:
    """Options of a CoreNet YAML; `changes` by the last part of their key: `make_options(window_sizes=[4])`."""
    elsewhere = {"n_classes": "model.classification.", "name": "model.activation.", "neg_slope": "model.activation."}
    flat: dict[str, Any] = {"model.classification.name": "byteformer", "model.audio_classification.name": "byteformer"}
    flat |= {elsewhere.get(key, BYTEFORMER) + key: value for key, value in changes.items() if key != "category"}
    flat["dataset.category"] = changes.get("category", "classification")
    return options_from_mapping(flat, source=source)


def golden_options(case: GoldenCase) -> CoreNetOptions:
    """The options of a golden case's YAML."""
    return options_from_mapping(dict(_flat(yaml.safe_load(case.yaml) or {})), source=f"{case.name}.yaml")


def golden_model(case: GoldenCase, **switches: Any) -> Any:
    """The folder's model of a golden case, in evaluation mode, with the case's weights through the mapping."""
    options = golden_options(case)
    config = ByteFormerConfig(**model_fields(options) | {"num_labels": options.n_classes} | switches)
    with torch.device("meta"):
        model = MODEL_CLASSES[options.task](config)
    model.load_state_dict(map_weights(case.state_dict()), strict=True, assign=True)
    return model.eval()


def make_config(**changes: Any) -> ByteFormerConfig:
    """Two layers of eight channels, windows of four, the second layer shifted, one merge after the first."""
    fields: dict[str, Any] = {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_kernel_size": 4,
        "max_position_embeddings": 64,
        "window_sizes": 4,
        "window_shifts": [0, 2],
        "downsample": [True, False],
        "num_labels": 3,
    }
    return ByteFormerConfig(**fields | changes)


def make_model(**changes: Any) -> ByteFormerForImageClassification:
    """That world in evaluation mode, every weight random, the same whenever the shapes are the same."""
    model = ByteFormerForImageClassification(make_config(**changes)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def make_ids(*lengths: int, to: int = 0) -> Tensor:
    """Random bytes of the given lengths, padded with -1 to the longest, or to `to`: (batch, bytes)."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((len(lengths), max(*lengths, to)), -1)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(0, 256, (length,), generator=generator)
    return ids


def corenet_twin(model: Any) -> CoreNetByteFormer:
    """The reference with the weights of a folder's model, whose switches it does not have."""
    config, state = model.config, model.state_dict()
    return CoreNetByteFormer.from_state_dict(
        dict(unmap_weights(state, dict.fromkeys(source_names(state)))),
        embed_dim=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        ffn_dim=config.intermediate_size,
        n_classes=config.num_labels,
        vocab_size=config.vocab_size,
        max_num_tokens=config.max_position_embeddings,
        conv_kernel_size=config.conv_kernel_size,
        window_sizes=config.window_sizes,
        window_shifts=config.window_shifts,
        downsample=config.downsample,
        sinusoidal_pos_emb=config.position_embedding_type == "sinusoidal",
        norm_layer="layer_norm_fp32" if config.layer_norm_fp32 else "layer_norm",
        activation=config.hidden_act,
        neg_slope=config.hidden_act_slope,
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in tree.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return items
