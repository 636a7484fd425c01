"""The folder's config: CoreNet's defaults, one entry per layer, and errors in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from byteformer_convert.bundled.configuration_byteformer import ACTIVATIONS, ByteFormerConfig
from byteformer_convert.bundled.modeling_byteformer import ACTIVATION_LAYERS
from tests.worlds import make_config


def test_the_defaults_are_corenets_tiny() -> None:
    config = ByteFormerConfig()
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (192, 12, 3)
    assert (config.intermediate_size, config.conv_kernel_size, config.conv_stride) == (768, 16, 8)
    assert config.window_sizes == [128] * 12
    assert config.window_shifts == [0, 64] * 6
    assert config.downsample == [True, True, *[False, True] * 4, False, False]
    assert config.model_type == "byteformer"


@pytest.mark.parametrize("field", ["window_sizes", "window_shifts", "downsample"])
@pytest.mark.parametrize("value", [1, [1], (1,)])
def test_one_value_stands_for_all_layers(field: str, value: Any) -> None:
    fields = {"num_hidden_layers": 3, "window_sizes": 4, "window_shifts": 0, "downsample": False} | {field: value}
    assert getattr(make_config(**fields), field) == [1, 1, 1]


@pytest.mark.parametrize("field", ["window_sizes", "window_shifts", "downsample"])
@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_list_needs_one_entry_per_layer(field: str, count: int) -> None:
    fields = {"num_hidden_layers": 3, "window_sizes": 4, "window_shifts": 0, "downsample": False} | {field: [1] * count}
    with pytest.raises(ValueError, match=f"{field} has {count} entries for 3 layers; give one, or one per layer"):
        make_config(**fields)


def test_it_keeps_its_own_lists() -> None:
    shifts = [0, 2]
    config = make_config(window_shifts=shifts)
    shifts[1] = 3
    assert config.window_shifts == [0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'; ByteFormer knows gelu, hard_sigmoid"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary', not learned or sinusoidal"),
        ({"conv_kernel_size": 1}, "conv_kernel_size is 1; the stride is half of it, so it is at least 2"),
        ({"num_attention_heads": 3}, "hidden_size 8 is not divisible by num_attention_heads 3"),
    ],
)
def test_a_value_that_the_model_does_not_know_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_every_activation_has_a_layer() -> None:
    assert tuple(ACTIVATION_LAYERS) == ACTIVATIONS


@pytest.mark.parametrize(("kernel", "stride", "longest"), [(4, 2, 131), (5, 2, 132), (2, 1, 65), (8, 4, 263)])
def test_max_bytes_is_the_longest_file_that_the_positions_reach(kernel: int, stride: int, longest: int) -> None:
    config = make_config(conv_kernel_size=kernel)
    assert (config.conv_stride, config.max_bytes) == (stride, longest)
    assert (longest - kernel) // stride + 1 == config.max_position_embeddings
    assert (longest + 1 - kernel) // stride + 1 == config.max_position_embeddings + 1


def test_it_survives_its_own_dictionary() -> None:
    config = make_config(mask_padding=True, hidden_act="leaky_relu", hidden_act_slope=0.3, drop_path_rate=0.1)
    assert ByteFormerConfig(**config.to_dict()).to_dict() == config.to_dict()
