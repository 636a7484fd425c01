"""CoreNetOptions -> config.json. Written without transformers, whose import takes longer than a conversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

TASK_CLASSES = {
    "image": ("AutoModelForImageClassification", "ByteFormerForImageClassification"),
    "audio": ("AutoModelForAudioClassification", "ByteFormerForAudioClassification"),
}

# The oddities of CoreNet that the folder's numbers contain, and the field that switches each to what was meant.
SWITCHES = {"mask_padding": False, "mask_shifted_windows": False, "last_axis_layer_norm": False}


def model_fields(options: CoreNetOptions) -> dict[str, Any]:
    """The fields of ByteFormerConfig that shape the model and its arithmetic, JSON-able."""
    return {
        "vocab_size": options.vocab_size,
        "hidden_size": options.embed_dim,
        "num_hidden_layers": options.num_layers,
        "num_attention_heads": options.num_heads,
        "intermediate_size": options.ffn_dim,
        "hidden_act": options.activation,
        "hidden_act_slope": options.neg_slope,
        "conv_kernel_size": options.conv_kernel_size,
        "max_position_embeddings": options.max_num_tokens,
        "position_embedding_type": "sinusoidal" if options.sinusoidal_pos_emb else "learned",
        "window_sizes": list(options.window_sizes),
        "window_shifts": list(options.window_shifts),
        "downsample": list(options.downsample),
        "layer_norm_eps": 1e-5,
        "layer_norm_fp32": options.norm_layer == "layer_norm_fp32",
        "hidden_dropout_prob": options.dropout,
        "drop_path_rate": options.stochastic_dropout,
        **SWITCHES,
    }


def config_json(options: CoreNetOptions, labels: Sequence[str], dtype: str) -> dict[str, Any]:
    """The whole config.json: model fields, labels, dtype, and the auto_map for every Auto class.

    Args:
        options: What the YAML says.
        labels: One name per class.
        dtype: Name of the weights' torch dtype, such as `float32`.
    """
    auto_class, model_class = TASK_CLASSES[options.task]
    return {
        "architectures": [model_class],
        "auto_map": {
            "AutoConfig": "configuration_byteformer.ByteFormerConfig",
            "AutoModel": "modeling_byteformer.ByteFormerModel",
            auto_class: f"modeling_byteformer.{model_class}",
        },
        "dtype": dtype,
        "id2label": {str(index): name for index, name in enumerate(labels)},
        # Of classes that share a name, the first: the folder loads, and id2label keeps them all.
        "label2id": {name: index for index, name in reversed([*enumerate(labels)])},
        "model_type": "byteformer",
        **model_fields(options),
    }
