"""Which inputs meet CoreNet's axis-1 LayerNorm: exactly as many tokens as channels reach a norm."""

from __future__ import annotations

from typing import Any


def meets_axis_one_norm(config: Any, length: int) -> bool:
    """Whether an input is normalised over its tokens somewhere, where that was not meant.

    Args:
        config: A ByteFormerConfig.
        length: Bytes of the input with its padding, or without where the model masks it.
    """
    if config.last_axis_layer_norm:
        return False
    channels = config.hidden_size
    tokens = (length - config.conv_kernel_size) // config.conv_stride + 1
    for window, merges in zip(config.window_sizes, config.downsample, strict=True):
        if window == channels:  # norms inside the layers see windows
            return True
        if merges:
            tokens = (tokens + 1) // 2
            if tokens == channels:
                return True
    return tokens == channels
