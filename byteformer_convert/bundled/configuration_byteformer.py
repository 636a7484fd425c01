# Copied as it stands into every converted folder: it runs on machines where only transformers is installed.
"""ByteFormer configuration. Paper: Horton et al., Bytes Are All You Need, arXiv 2306.00238."""

from transformers import PretrainedConfig

ACTIVATIONS = (
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "sigmoid",
    "swish",
    "tanh",
)


class ByteFormerConfig(PretrainedConfig):
    """Configuration of a ByteFormer: a transformer that classifies files from their bytes.

    The defaults are those of CoreNet's `tiny` mode. By default the model computes what CoreNet computes, including
    three things that CoreNet's code looks as if it did not do. Each can be switched to the arithmetic that was meant;
    the published weights were trained and evaluated with all three as they are by default.

    Args:
        vocab_size: Rows of the byte embedding; the last one is the padding row (256 byte values + 1).
        hidden_size: Channels of a token.
        num_hidden_layers: Transformer layers.
        num_attention_heads: Heads; `hidden_size` is divisible by it.
        intermediate_size: Channels inside the feed-forward network.
        hidden_act: One of gelu (the exact erf form), relu, leaky_relu, relu6, prelu, swish, hard_swish, hard_sigmoid,
            sigmoid, tanh.
        hidden_act_slope: Negative slope of leaky_relu.
        conv_kernel_size: Bytes that a token sees; the stride is `conv_kernel_size // 2`.
        max_position_embeddings: Rows of the position table, the most tokens an input may have.
        position_embedding_type: `learned` or `sinusoidal`.
        window_sizes: Tokens of an attention window, one for all layers or one per layer.
        window_shifts: Tokens by which the sequence is rolled before it is cut into windows, one per layer.
        downsample: Per layer, whether pairs of tokens are merged after it.
        layer_norm_eps: Epsilon of the norms.
        layer_norm_fp32: Whether norms inside the layers and the last one compute in float32 (CoreNet's
            `layer_norm_fp32`).
        hidden_dropout_prob: Dropout after the embeddings, the attention output and the feed-forward network.
        drop_path_rate: Stochastic depth of the last layer; the rate rises linearly from 0 over the layers.
        mask_padding: False as in CoreNet: padding takes part in attention, merging and the mean, so that a file's
            logits depend on how far its batch was padded. True: a file's logits do not depend on its batch, and nothing
            attends to the zero tokens that fill its last window either (CoreNet's numbers for a lone file have those).
        mask_shifted_windows: False as in CoreNet: after the shift, the last window mixes the end and the beginning of
            the sequence. True: the two do not attend to each other.
        last_axis_layer_norm: False as in CoreNet: a tensor with exactly `hidden_size` tokens is taken for
            channel-first and normalised over its tokens. True: norms always run over the channels.

    Raises:
        ValueError: The lists do not have one entry per layer, or a value is not one that the model knows.
    """

    model_type = "byteformer"

    def __init__(
        self,
        vocab_size=257,
        hidden_size=192,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=768,
        hidden_act="gelu",
        hidden_act_slope=0.1,
        conv_kernel_size=16,
        max_position_embeddings=10000,
        position_embedding_type="learned",
        window_sizes=128,
        window_shifts=None,
        downsample=None,
        layer_norm_eps=1e-5,
        layer_norm_fp32=False,
        hidden_dropout_prob=0.0,
        drop_path_rate=0.0,
        mask_padding=False,
        mask_shifted_windows=False,
        last_axis_layer_norm=False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_act_slope = hidden_act_slope
        self.conv_kernel_size = conv_kernel_size
        self.max_position_embeddings = max_position_embeddings
        self.position_embedding_type = position_embedding_type
        self.window_sizes = _one_per_layer("window_sizes", window_sizes, num_hidden_layers)
        self.window_shifts = _one_per_layer(
            "window_shifts",
            _alternating(num_hidden_layers) if window_shifts is None else window_shifts,
            num_hidden_layers,
        )
        self.downsample = _one_per_layer(
            "downsample",
            _default_downsample(num_hidden_layers) if downsample is None else downsample,
            num_hidden_layers,
        )
        self.layer_norm_eps = layer_norm_eps
        self.layer_norm_fp32 = layer_norm_fp32
        self.hidden_dropout_prob = hidden_dropout_prob
        self.drop_path_rate = drop_path_rate
        self.mask_padding = mask_padding
        self.mask_shifted_windows = mask_shifted_windows
        self.last_axis_layer_norm = last_axis_layer_norm
        _check(self)
        super().__init__(**kwargs)

    @property
    def conv_stride(self):
        """Bytes from one token's start to the next one's."""
        return self.conv_kernel_size // 2

    @property
    def max_bytes(self):
        """The longest input, in bytes, that the position table has room for."""
        return (self.max_position_embeddings - 1) * self.conv_stride + self.conv_kernel_size + self.conv_stride - 1


def _one_per_layer(name, values, layers):
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    values = values * layers if len(values) == 1 else values
    if len(values) != layers:
        raise ValueError(f"{name} has {len(values)} entries for {layers} layers; give one, or one per layer.")
    return values


def _alternating(layers):
    return [0 if layer % 2 == 0 else 64 for layer in range(layers)]


def _default_downsample(layers):
    # CoreNet's default for its 12 layers: after layers 0, 1, 3, 5, 7 and 9.
    return [layer in (0, 1, 3, 5, 7, 9) for layer in range(layers)]


def _check(config):
    if config.hidden_act not in ACTIVATIONS:
        raise ValueError(f"hidden_act is {config.hidden_act!r}; ByteFormer knows {', '.join(ACTIVATIONS)}.")
    if config.position_embedding_type not in ("learned", "sinusoidal"):
        raise ValueError(f"position_embedding_type is {config.position_embedding_type!r}, not learned or sinusoidal.")
    if config.conv_kernel_size < 2:
        raise ValueError(
            f"conv_kernel_size is {config.conv_kernel_size}; the stride is half of it, so it is at least 2."
        )
    if config.hidden_size % config.num_attention_heads:
        raise ValueError(
            f"hidden_size {config.hidden_size} is not divisible by num_attention_heads {config.num_attention_heads}."
        )


__all__ = ["ByteFormerConfig"]
