"""What the fields of a folder's JSON files may say: anybody may have written them, and a model is built by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from byteformer_convert.corenet.option_table import LARGEST, LARGEST_WINDOW, MOST_CLASSES, shown

# As large as nobody's model or picture is, and as small as a machine takes.
MOST_LAYERS: Final = 512
MOST_PIXELS: Final = 16_384  # on an edge
LONGEST_SOUND: Final = 2**26  # samples

# With these, transformers takes other files or other code than the folder's own: a second config, other weights,
# a quantizer's package, a kernel from the Hub.
STEERING: Final = (
    "configuration_files", "transformers_weights", "quantization_config", "attn_implementation",
    "_attn_implementation", "_attn_implementation_internal", "experts_implementation", "_experts_implementation",
    "_experts_implementation_internal", "distributed_config", "fusion_config", "kernel_config", "compression_config",
)  # fmt: skip


class _Field(NamedTuple):
    """What a field takes, and the words for it."""

    holds: Callable[[Any], bool]
    noun: str


def _is_whole(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _whole(lowest: int, highest: int = LARGEST) -> _Field:
    return _Field(lambda value: _is_whole(value, lowest, highest), f"a whole number from {lowest} to {highest}")


def _list_of(inner: _Field, *, alone: bool = False) -> _Field:
    """A list of these, of one a layer at most; `alone`: or one of them."""
    return _Field(
        lambda value: (
            (alone and inner.holds(value))
            or (isinstance(value, list) and len(value) <= MOST_LAYERS and all(map(inner.holds, value)))
        ),
        f"a list of at most {MOST_LAYERS}, each {inner.noun}",
    )


def _or_null(field: _Field) -> _Field:
    return _Field(lambda value: value is None or field.holds(value), f"null, or {field.noun}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST and value == value


def _are_edges(size: dict[str, Any]) -> bool:
    return set(size) in ({"shortest_edge"}, {"height", "width"}) and all(map(_EDGE.holds, size.values()))


_NUMBER: Final = _Field(_is_finite, "a finite number")
_SHARE: Final = _Field(lambda value: _is_finite(value) and 0 <= value <= 1, "a number from 0 to 1")
_TRUTH: Final = _Field(lambda value: isinstance(value, bool), "true or false")
_TEXT: Final = _Field(lambda value: isinstance(value, str) and len(value) < 1000, "text")
_EDGE: Final = _whole(1, MOST_PIXELS)
_EDGES: Final = _Field(
    lambda value: (
        isinstance(value, dict) and _are_edges({name: edge for name, edge in value.items() if edge is not None})
    ),
    f"shortest_edge, or height and width, from 1 to {MOST_PIXELS}",
)
_NAMES: Final = _Field(
    lambda value: (
        isinstance(value, dict)
        and len(value) <= MOST_CLASSES
        and set(value) == {str(index) for index in range(len(value))}
        and all(isinstance(name, str) for name in value.values())
    ),
    f"names by their numbers, 0, 1, 2, ... without a gap, at most {MOST_CLASSES}",
)
_NUMBERS: Final = _Field(lambda value: isinstance(value, dict) and len(value) <= MOST_CLASSES, "numbers by their names")
_AUTO_MAP: Final = _Field(
    lambda value: isinstance(value, dict) and all(isinstance(part, (str, list, type(None))) for part in value.values()),
    "classes by their names",
)

CONFIG_FIELDS: Final[Mapping[str, _Field]] = {
    "architectures": _or_null(_list_of(_TEXT)),
    "auto_map": _or_null(_AUTO_MAP),
    "id2label": _or_null(_NAMES),
    "label2id": _or_null(_NUMBERS),
    "num_labels": _or_null(_whole(1, MOST_CLASSES)),
    "vocab_size": _whole(2),
    "hidden_size": _whole(1),
    "num_hidden_layers": _whole(1, MOST_LAYERS),
    "num_attention_heads": _whole(1),
    "intermediate_size": _whole(1),
    "hidden_act": _TEXT,
    "hidden_act_slope": _NUMBER,
    "conv_kernel_size": _whole(2),
    "max_position_embeddings": _whole(1),
    "position_embedding_type": _TEXT,
    "window_sizes": _list_of(_whole(1, LARGEST_WINDOW), alone=True),
    "window_shifts": _or_null(_list_of(_whole(-LARGEST), alone=True)),
    "downsample": _or_null(_list_of(_TRUTH, alone=True)),
    "layer_norm_eps": _NUMBER,
    "layer_norm_fp32": _TRUTH,
    "hidden_dropout_prob": _SHARE,
    "drop_path_rate": _SHARE,
    "mask_padding": _TRUTH,
    "mask_shifted_windows": _TRUTH,
    "last_axis_layer_norm": _TRUTH,
}
PROCESSOR_FIELDS: Final[Mapping[str, _Field]] = {
    "auto_map": _or_null(_AUTO_MAP),
    "do_resize": _TRUTH,
    "size": _or_null(_EDGES),
    "resample": _or_null(_whole(0, 5)),
    "do_center_crop": _TRUTH,
    "crop_size": _or_null(_EDGES),
    "file_encoding": _or_null(_TEXT),
    "jpeg_quality": _whole(-LARGEST),
    "shuffle_mode": _or_null(_TEXT),
    "shuffle_stride": _whole(1, 2**20),
    "shuffle_window_size": _whole(1, 2**26),
    "keep_fraction": _or_null(_SHARE),
    "noise_range": _or_null(
        _Field(
            lambda value: (
                isinstance(value, list)
                and len(value) == 2
                and all(_is_whole(number, -LARGEST, LARGEST - 1) for number in value)
                and value[0] <= value[1]
            ),
            "two whole numbers, the lower one first",
        )
    ),
    "permute_bytes": _TRUTH,
    "padding_value": _Field(lambda value: _is_finite(value) and float(value).is_integer(), "a whole number"),
    "sampling_rate": _whole(1, 10**6),
    "num_samples": _whole(1, LONGEST_SOUND),
    "file_format": _or_null(_TEXT),
    "encoding_dtype": _TEXT,
}


def field_problems(content: Mapping[str, Any], known: Mapping[str, _Field]) -> Iterator[str]:
    """What known fields say that none of them may, one sentence each."""
    for name, field in known.items():
        if name in content and not field.holds(content[name]):
            yield f"{name} is {shown(content[name])}, not {field.noun}"
    if nowhere := [name for name, value in content.items() if isinstance(value, float) and not math.isfinite(value)]:
        yield f"{shown(nowhere[0])} is no finite number"
