# Copied as it stands into every converted folder: it runs on machines where only transformers is installed.
"""ByteFormer: a transformer that classifies files from their bytes (Horton et al., arXiv 2306.00238).

The numbers are those of Apple's CoreNet, oddities included; ByteFormerConfig says how to switch each of them off.
Axis names in comments: batch, bytes, tokens, windows (batch x windows of one layer), window (tokens in one), hidden.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import ImageClassifierOutput, SequenceClassifierOutput
from transformers.utils.generic import ModelOutput, can_return_tuple

from .configuration_byteformer import ByteFormerConfig
from .inference_byteformer import (
    BYTE_TABLES,
    PACKED_WEIGHTS,
    can_fuse,
    fused_layer,
    has_hooks,
    in_groups,
    is_plain,
    is_transformed,
    layer_norm,
    layer_norm_over_tokens,
    layer_operator,
    look_up_tokens,
    split_heads,
    tokens_operator,
)

PADDING = -1  # how a caller marks padding; the padding row of the embedding, vocab_size - 1, means the same
BYTE_VALUES = 256

ACTIVATION_LAYERS = {
    "gelu": nn.GELU,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


@dataclass
class ByteFormerModelOutput(ModelOutput):
    """What ByteFormerModel returns.

    Args:
        last_hidden_state: (batch, tokens, hidden), after all merges and the last norm.
        pooler_output: (batch, hidden), the mean over the tokens.
        hidden_states: On request, the embeddings and the output of each layer after its merge, layers + 1 tensors.
        attentions: On request, one (windows, heads, window, window) tensor per layer.
        token_mask: (batch, tokens), 1 for tokens made of file bytes, 0 for padding: the mask for cross-attention.
    """

    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None
    token_mask: torch.LongTensor | None = None


class ByteFormerLayerNorm(nn.LayerNorm):
    """LayerNorm with the axis rule of CoreNet's `LayerNorm.forward`.

    A tensor whose axis 1 has exactly `hidden` entries is taken for channel-first: mean and standard deviation run
    over axis 1, the epsilon is added to the standard deviation, weight and bias follow axis 1.
    """

    def __init__(self, config, fp32=False):
        super().__init__(config.hidden_size, eps=config.layer_norm_eps)
        self.fp32 = fp32
        self.last_axis_only = config.last_axis_layer_norm

    def forward(self, hidden_states, lengths=None):
        """Normalises (batch, tokens, hidden).

        Args:
            hidden_states: (batch, tokens, hidden).
            lengths: (batch,) tokens of each row where rows are to be treated as if they were alone, else None.
        """
        dtype = hidden_states.dtype
        weight: torch.Tensor = self.weight
        bias: torch.Tensor = self.bias
        if self.fp32:
            hidden_states, weight, bias = hidden_states.float(), weight.float(), bias.float()
        hidden_size, tokens = self.normalized_shape[0], hidden_states.shape[1]
        if not self.last_axis_only and is_symbolic(tokens):
            normed = self._by_length(hidden_states, weight, bias, lengths)
        elif self.last_axis_only or tokens < hidden_size or lengths is None:
            normed = layer_norm(hidden_states, weight, bias, self.eps, self.last_axis_only)
        else:
            normed = F.layer_norm(hidden_states, self.normalized_shape, weight, bias, self.eps)
            over_tokens = layer_norm_over_tokens(hidden_states[:, :hidden_size], weight, bias, self.eps)
            meets_rule = (lengths == hidden_size)[:, None, None]
            head = torch.where(meets_rule, over_tokens, normed[:, :hidden_size])
            normed = torch.cat([head, normed[:, hidden_size:]], dim=1)
        return normed.to(dtype)

    def _by_length(self, hidden_states, weight, bias, lengths):
        """Both norms, and the one that the length asks for: an exported program is one for all lengths."""
        tokens, hidden_size = hidden_states.shape[1], self.normalized_shape[0]
        row = torch.arange(tokens, device=hidden_states.device)
        of_token = row.clamp(max=hidden_size - 1)
        head = hidden_states * (row < hidden_size)[:, None]
        count = row[None, :, None] < hidden_size
        mean = head.sum(dim=1, keepdim=True) / hidden_size
        std = (((hidden_states - mean) * count).square().sum(dim=1, keepdim=True) / hidden_size).sqrt()
        over_tokens = (hidden_states - mean) / (std + self.eps) * weight[of_token, None] + bias[of_token, None]
        normed = F.layer_norm(hidden_states, self.normalized_shape, weight, bias, self.eps)
        if lengths is None:
            lengths = torch.full((1,), tokens, device=hidden_states.device)
        return torch.where((lengths == hidden_size)[:, None, None], over_tokens, normed)


class ByteFormerDropPath(nn.Module):
    """Stochastic depth. CoreNet drops rows of the windowed tensor, so one window at a time and not one file."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, hidden_states):
        if self.rate == 0.0 or not self.training:
            return hidden_states
        keep = hidden_states.new_empty(hidden_states.shape[0], 1, 1).bernoulli_(1.0 - self.rate)
        return hidden_states * keep.div_(1.0 - self.rate)


class ByteFormerEmbeddings(nn.Module):
    """Bytes to tokens: embedding, convolution over the byte axis, positions."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        hidden_size = config.hidden_size
        self.byte_embeddings = nn.Embedding(config.vocab_size, hidden_size, padding_idx=config.vocab_size - 1)
        self.projection = nn.Conv1d(hidden_size, hidden_size, config.conv_kernel_size, config.conv_stride, bias=False)
        if config.position_embedding_type == "sinusoidal":
            # Persistent: from_pretrained leaves other buffers unfilled.
            self.register_buffer("position_embeddings", sinusoidal_positions(config))
        else:
            self.position_embeddings = nn.Parameter(torch.empty(config.max_position_embeddings, hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids):
        """(batch, bytes) ids without -1 -> (batch, tokens, hidden)."""
        if self._can_look_up(input_ids):
            hidden_states = self._look_up(input_ids)
        else:
            hidden_states = self.byte_embeddings(input_ids)  # (batch, bytes, hidden)
            hidden_states = self.projection(hidden_states.transpose(1, 2)).transpose(1, 2)  # (batch, tokens, hidden)
        return self.dropout(hidden_states.add_(self.position_embeddings[: hidden_states.shape[1]]))

    def _can_look_up(self, input_ids):
        table, device = self.byte_embeddings, input_ids.device.type
        return (
            (not torch.is_grad_enabled() or (device == "cpu" and not torch.compiler.is_compiling()))
            and not torch.is_autocast_enabled(device)
            and not is_exporting()
            and not is_transformed()
            and is_plain(table, nn.Embedding)
            and is_plain(self.projection, nn.Conv1d)
            and not (table.max_norm or table.scale_grad_by_freq or table.sparse)
        )

    def _look_up(self, input_ids):
        embeddings, padding_row = self.byte_embeddings.weight, self.byte_embeddings.padding_idx
        run = tokens_operator if torch.compiler.is_compiling() and embeddings.device.type == "cpu" else look_up_tokens
        if torch.is_grad_enabled() and embeddings.requires_grad and padding_row is not None:
            # No gradient, as nn.Embedding gives it none.
            is_padding = torch.arange(len(embeddings), device=embeddings.device) == padding_row
            embeddings = torch.where(is_padding[:, None], embeddings.detach(), embeddings)
        return run(input_ids, embeddings, self.projection.weight, self.config.conv_stride)

    def train(self, mode=True):
        BYTE_TABLES.forget(self)
        return super().train(mode)


class ByteFormerAttention(nn.Module):
    """Multi-head self-attention inside each window."""

    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            # CoreNet draws the three as one (3 x hidden, hidden) matrix, whose Xavier bound is smaller.
            projection.init_gain = 0.5**0.5

    def forward(self, hidden_states, mask=None, output_attentions=False):
        """(windows, window, hidden), mask (windows, 1, window, window) or None -> the same, and the probabilities."""
        projections = self.q_proj, self.k_proj, self.v_proj
        query, key, value = (split_heads(projection(hidden_states), self.num_heads) for projection in projections)
        probabilities = None
        if output_attentions:
            scores = (query * self.scaling) @ key.transpose(-1, -2)
            scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
            probabilities = scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)
            context = probabilities @ value
        else:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scaling)
        context = context.transpose(1, 2).flatten(2)  # (windows, heads, window, head) -> (windows, window, hidden)
        return self.o_proj(context), probabilities


class ByteFormerMLP(nn.Module):
    """Feed-forward network of a layer."""

    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        slope = {"negative_slope": config.hidden_act_slope} if config.hidden_act == "leaky_relu" else {}
        self.activation = ACTIVATION_LAYERS[config.hidden_act](**slope)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states):
        return self.fc2(self.activation(self.fc1(hidden_states)))


class ByteFormerTokenMerging(nn.Module):
    """Halves the tokens: each pair is concatenated and projected back to `hidden` channels.

    `reduction.weight` is (hidden, 2 x hidden) with all channels of the first token before those of the second, so
    that a merge is a reshape. CoreNet's columns alternate between the two tokens.
    """

    def __init__(self, config):
        super().__init__()
        self.reduction = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        # CoreNet's TokenMerging takes the plain norm whatever norm_layer says.
        self.norm = ByteFormerLayerNorm(config)

    def forward(self, hidden_states, lengths=None):
        """(batch, tokens, hidden) -> (batch, ceil(tokens / 2), hidden); lengths, if given, are those after merging."""
        batch, tokens, hidden = hidden_states.shape
        if is_symbolic(tokens):  # torch.export cannot see that the reshape below comes out even
            hidden_states = F.pad(hidden_states, (0, 0, 0, 1))
            pairs = torch.cat([hidden_states[:, :tokens:2], hidden_states[:, 1::2]], dim=-1)
        else:
            pairs = F.pad(hidden_states, (0, 0, 0, tokens % 2)) if tokens % 2 else hidden_states
            pairs = pairs.reshape(batch, -1, 2 * hidden)
        return self.norm(self.reduction(pairs), lengths)


class ByteFormerLayer(GradientCheckpointingLayer):
    """Pre-norm attention and feed-forward network over (shifted) windows, then, in some layers, a merge."""

    def __init__(self, config, layer_index):
        super().__init__()
        self.window_size = config.window_sizes[layer_index]
        self.window_shift = max(config.window_shifts[layer_index], 0)  # CoreNet rolls for positive shifts only
        self.mask_shifted_windows = config.mask_shifted_windows
        self.layernorm_before = ByteFormerLayerNorm(config, fp32=config.layer_norm_fp32)
        self.attention = ByteFormerAttention(config)
        self.layernorm_after = ByteFormerLayerNorm(config, fp32=config.layer_norm_fp32)
        self.mlp = ByteFormerMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.drop_path = ByteFormerDropPath(drop_path_rate(config, layer_index))
        self.token_merging = ByteFormerTokenMerging(config) if config.downsample[layer_index] else None

    def forward(self, hidden_states, lengths=None, output_attentions=False):
        """One layer: attention and feed-forward network over the windows, then the merge.

        Args:
            hidden_states: (batch, tokens, hidden).
            lengths: (batch,) tokens of each row, where padding is masked; else None.
            output_attentions: Whether to return the attention probabilities too.

        Returns:
            (batch, tokens or, after a merge, ceil(tokens / 2), hidden), and (windows, heads, window, window) or None.
        """
        attentions, merged = None, False
        can_group = lengths is None and not output_attentions and self._can_go_in_groups(hidden_states)
        if can_group and self._can_fuse(hidden_states):
            hidden_states, merged = self._fused(hidden_states)
        elif can_group and not torch.compiler.is_compiling():
            hidden_states = self._in_groups(hidden_states)
        else:
            hidden_states, attentions = self._at_once(hidden_states, lengths, output_attentions)
        if self.token_merging is not None and not merged:
            if lengths is not None:
                hidden_states = hidden_states * valid_tokens(lengths, hidden_states.shape[1])[..., None]
                lengths = merged_length(lengths)
            hidden_states = self.token_merging(hidden_states, lengths)
        return hidden_states, attentions

    def _at_once(self, hidden_states, lengths, output_attentions):
        batch, tokens, hidden = hidden_states.shape
        # The zero tokens that fill the last window take part as keys in CoreNet, whose mask is not passed on.
        padded = (tokens + self.window_size - 1) // self.window_size * self.window_size
        if is_symbolic(tokens) or padded != tokens:
            hidden_states = F.pad(hidden_states, (0, 0, 0, padded - tokens))
        if lengths is not None:
            hidden_states = hidden_states * valid_tokens(lengths, padded)[..., None]
        hidden_states = self._roll(hidden_states, lengths, backwards=True)
        windows = hidden_states.reshape(-1, self.window_size, hidden)  # (batch, tokens, hidden) -> windows
        windows, attentions = self._attend(windows, self._mask(batch, padded, lengths, windows), output_attentions)
        windows = self._feed(windows)
        return first_tokens(self._roll(windows.reshape(batch, padded, hidden), lengths), tokens), attentions

    def _can_go_in_groups(self, hidden_states):
        return (
            hidden_states.device.type == "cpu"
            and not torch.is_grad_enabled()
            and not self.training
            and not is_exporting()
            and not (self.mask_shifted_windows and self.window_shift > 0)
            and (self._any_length() or hidden_states.shape[1] > max(self.window_size, self.window_shift))
            and not any(has_hooks(module) for module in self.modules() if module is not self)
        )

    def _any_length(self):
        """Whether tokens that fit into one window need no roll: then their order changes nothing, but for this norm."""
        norm = self.layernorm_before
        return self.window_shift < self.window_size and (
            norm.last_axis_only or self.window_size != norm.normalized_shape[0]
        )

    def _in_groups(self, hidden_states):
        def attend(windows):
            return self._attend(windows, add=torch.Tensor.add_)[0]

        feed = partial(self._feed, add=torch.Tensor.add_)  # in place: nobody else sees a branch's output
        return in_groups(attend, feed, hidden_states, self.window_size, self.window_shift)

    def _fused(self, hidden_states):
        """`fused_layer`'s output, and whether that includes the merge."""
        merging = self.token_merging if self._can_fuse_merge(hidden_states) else None
        linears, norms = self._linears(), [self.layernorm_before, self.layernorm_after]
        weights, biases = [linear.weight for linear in linears], [linear.bias for linear in linears]
        if merging is not None:
            weights.append(merging.reduction.weight)
            norms.append(merging.norm)
        run = layer_operator if torch.compiler.is_compiling() else fused_layer
        output = run(
            hidden_states,
            weights,
            biases,
            [tensor for norm in norms for tensor in (norm.weight, norm.bias)],
            [norm.eps for norm in norms],
            self.window_size,
            self.window_shift,
            self.attention.num_heads,
            [norms[0].last_axis_only, norms[0].fp32],
        )
        return output, merging is not None

    def _attend(self, windows, mask=None, output_attentions=False, add=torch.add):
        branch, attentions = self.attention(self.layernorm_before(windows), mask, output_attentions)
        return add(self.drop_path(self.dropout(branch)), windows), attentions

    def _feed(self, windows, add=torch.add):
        branch = self.mlp(self.layernorm_after(windows))
        return add(self.drop_path(self.dropout(branch)), windows)

    def _linears(self):
        attention, mlp = self.attention, self.mlp
        return attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, mlp.fc1, mlp.fc2

    def _can_fuse(self, hidden_states):
        linears = self._linears()
        return (
            # Themselves, not what is in them: a LoRA layer that took a linear's place holds plain ones.
            all(is_plain(linear, nn.Linear) for linear in linears)
            and is_plain(self.attention, ByteFormerAttention)
            and is_plain(self.mlp, ByteFormerMLP)
            and is_plain(self.mlp.activation, nn.GELU)
            and is_plain(self.layernorm_before, ByteFormerLayerNorm)
            and is_plain(self.layernorm_after, ByteFormerLayerNorm)
            and not any(module.training for module in self.modules())
            and can_fuse(hidden_states, [tensor for linear in linears for tensor in (linear.weight, linear.bias)])
        )

    def _can_fuse_merge(self, hidden_states):
        merging = self.token_merging
        return (
            merging is not None
            and self.window_size % 2 == 0
            and self.window_shift % 2 == 0
            and is_plain(merging, ByteFormerTokenMerging)
            and is_plain(merging.reduction, nn.Linear)
            and is_plain(merging.norm, ByteFormerLayerNorm)
            and can_fuse(hidden_states, [merging.reduction.weight])
        )

    def train(self, mode=True):
        PACKED_WEIGHTS.forget(self)
        return super().train(mode)

    def _roll(self, hidden_states, lengths, backwards=False):
        if self.window_shift == 0:
            return hidden_states
        shift = -self.window_shift if backwards else self.window_shift
        if lengths is None:
            return roll(hidden_states, shift)
        source = rolled_positions(lengths, hidden_states.shape[1], self.window_size, -shift)
        return hidden_states.gather(1, source[..., None].expand_as(hidden_states))

    def _mask(self, batch, padded, lengths, windows):
        """(windows, 1, window, window), True where a query may attend to a key; None where all may."""
        masks_shift = self.mask_shifted_windows and self.window_shift > 0
        if lengths is None and not masks_shift:
            return None
        if lengths is None:
            lengths = torch.full((batch,), padded, device=windows.device)
        source = rolled_positions(lengths, padded, self.window_size, self.window_shift)  # (batch, tokens)
        valid = (source < lengths[:, None]).view(-1, 1, self.window_size)  # (windows, 1, window): keys
        mask = valid.expand(-1, self.window_size, -1)
        if masks_shift:
            position = torch.arange(padded, device=windows.device)
            wrapped = (source < position).view(-1, self.window_size)
            mask = mask & (wrapped[:, :, None] == wrapped[:, None, :])
        # A query without any key would give NaN; such queries are padding and are thrown away.
        return (mask | ~mask.any(-1, keepdim=True))[:, None]


def roll(hidden_states, shift):
    """torch.roll along the tokens; for torch.compile as two slices, since it cannot index a roll of unknown length."""
    if is_exporting() or not torch.compiler.is_compiling():  # torch.export cannot place the slices
        return torch.roll(hidden_states, shift, dims=1)
    tokens = hidden_states.shape[1]
    start = -shift
    if is_symbolic(tokens) or not 0 <= start < tokens:
        start = start % tokens
    return torch.cat([hidden_states[:, start:], hidden_states[:, :start]], dim=1)


def first_tokens(hidden_states, tokens):
    """`hidden_states[:, :tokens]`; as a copy where that may be all: torch.export would branch on a view's strides."""
    if is_symbolic(tokens):
        return hidden_states.index_select(1, torch.arange(tokens, device=hidden_states.device))
    # A slice of all would cost the backward pass a copy.
    return hidden_states if tokens == hidden_states.shape[1] else hidden_states[:, :tokens]


def is_symbolic(size):
    """Whether a size stands for any number: torch.export is looking, and a branch on it would hold for its example."""
    return isinstance(size, torch.SymInt)


def is_exporting():
    """Whether torch.export, torch.jit.trace or the ONNX exporter is looking: they get the plain steps."""
    exporting = getattr(torch.compiler, "is_exporting", bool)() or torch.onnx.is_in_onnx_export()
    return exporting or torch.jit.is_tracing()  # type: ignore[attr-defined]


def drop_path_rate(config, layer_index):
    """Linear from 0 to `drop_path_rate` over the layers, rounded to 3 digits as CoreNet does."""
    # numpy's rounding, which differs from Python's: 0.0005 becomes 0.
    return float(np.round(np.linspace(0, config.drop_path_rate, config.num_hidden_layers)[layer_index], 3))


def sinusoidal_positions(config):
    """(max tokens, hidden): sines of position x frequency, then cosines (CoreNet's SinusoidalPositionalEmbedding)."""
    half = config.hidden_size // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float) * -(np.log(10000) / (half - 1)))
    angle = torch.arange(config.max_position_embeddings, dtype=torch.float)[:, None] * frequency
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=1), (0, config.hidden_size % 2))


def merged_length(lengths):
    """Tokens after a merge: pairs, an odd one with a zero token."""
    return (lengths + 1) // 2


def valid_tokens(lengths, tokens):
    """(batch,) lengths -> (batch, tokens), True for the first `length` of each row."""
    return torch.arange(tokens, device=lengths.device) < lengths[:, None]


def rolled_positions(lengths, padded, window_size, shift):
    """Where each token comes from when every row is rolled by -shift within its own whole windows.

    Args:
        lengths: (batch,) tokens of each row.
        padded: Tokens of the batch, a multiple of `window_size`.
        window_size: Tokens of a window.
        shift: Tokens to roll by; positive moves tokens to the front.

    Returns:
        (batch, padded) positions; those behind a row's own windows stay where they are.
    """
    position = torch.arange(padded, device=lengths.device)
    whole = ((lengths + window_size - 1) // window_size * window_size).clamp(min=window_size)[:, None]
    return torch.where(position < whole, (position + shift) % whole, position)


class ByteFormerPreTrainedModel(PreTrainedModel):
    """Initialisation, and what transformers needs to know about the models below."""

    config_class = ByteFormerConfig
    base_model_prefix = "byteformer"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ByteFormerEmbeddings", "ByteFormerLayer"]
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        """As a fresh CoreNet model, whatever the YAML's linear_init says; functions of torch.nn.init alone, since
        transformers lets those pass over weights that were loaded."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, gain=getattr(module, "init_gain", 1.0))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d):
            bound = (module.in_channels * module.kernel_size[0]) ** -0.5
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.PReLU):
            nn.init.constant_(module.weight, 0.25)
        elif isinstance(module, ByteFormerEmbeddings):
            self._init_embeddings(module)

    def _init_embeddings(self, module):
        std = self.config.hidden_size**-0.5
        table = module.byte_embeddings
        if not getattr(table.weight, "_is_hf_initialized", False):
            nn.init.trunc_normal_(table.weight, std=std)
            table.weight[table.padding_idx].zero_()
        positions = module.position_embeddings
        if isinstance(positions, nn.Parameter):
            nn.init.trunc_normal_(positions, std=std)
        elif not getattr(positions, "_is_hf_initialized", False):
            positions.copy_(sinusoidal_positions(self.config))


class ByteFormerModel(ByteFormerPreTrainedModel):
    """The encoder: file bytes to token features."""

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = ByteFormerEmbeddings(config)
        self.layers = nn.ModuleList([ByteFormerLayer(config, index) for index in range(config.num_hidden_layers)])
        self.layernorm = ByteFormerLayerNorm(config, fp32=config.layer_norm_fp32)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.byte_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.byte_embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        output_attentions=None,
        output_hidden_states=None,
        **kwargs,
    ):
        """Encodes files.

        Args:
            input_ids: (batch, bytes) integers, padded on the right with -1 or with `vocab_size - 1`; not changed.
            attention_mask: (batch, bytes), 0 where a byte is padding, as another way of saying so. Or the mask of the
                tokens, (batch, tokens) from `get_token_mask`, which is passed over: EncoderDecoderModel has one mask
                for both its parts, and its decoder needs that one.
            inputs_embeds: Not supported; here so that transformers' wrappers may pass None.
            output_attentions: Whether to return attention probabilities.
            output_hidden_states: Whether to return the output of every layer.

        Returns:
            ByteFormerModelOutput.

        Raises:
            ValueError: Fewer bytes than the kernel, more than the position table has room for, or no input_ids.
        """
        if input_ids is None or inputs_embeds is not None:
            raise ValueError(
                "ByteFormer takes input_ids, the bytes of a file as integers; inputs_embeds is not supported."
            )
        check_length(self.config, input_ids.shape[-1])
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        input_ids, lengths = self._prepare(input_ids, attention_mask)
        masked_lengths = lengths if self.config.mask_padding else None

        hidden_states = self.embeddings(input_ids)
        all_hidden_states, all_attentions = [hidden_states], []
        for layer in self.layers:
            hidden_states, attentions = layer(hidden_states, masked_lengths, output_attentions)
            if layer.token_merging is not None:
                lengths = merged_length(lengths)
                masked_lengths = lengths if self.config.mask_padding else None
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
            all_attentions.append(attentions)
        hidden_states = self.layernorm(hidden_states, masked_lengths)
        token_mask = valid_tokens(lengths, hidden_states.shape[1])
        return ByteFormerModelOutput(
            last_hidden_state=hidden_states,
            pooler_output=self._pool(hidden_states, token_mask),
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
            token_mask=token_mask.long(),
        )

    def get_token_mask(self, input_ids, attention_mask=None):
        """The mask that fits `last_hidden_state`, without computing that: what a decoder's cross-attention needs.

        Args:
            input_ids: (batch, bytes) as `forward` takes them.
            attention_mask: (batch, bytes) or None.

        Returns:
            (batch, tokens) int64, 1 for tokens made of file bytes, 0 for those made of padding alone.
        """
        _, lengths = self._prepare(input_ids, attention_mask)
        return valid_tokens(self._merged(lengths), self._tokens_of(input_ids.shape[1])).long()

    def _merged(self, lengths):
        """Tokens that are left after all layers, of tokens before the first: an int, or (batch,)."""
        for merges in self.config.downsample:
            lengths = merged_length(lengths) if merges else lengths
        return lengths

    def _tokens_of(self, length):
        """Tokens of `length` bytes after all layers."""
        return self._merged((length - self.config.conv_kernel_size) // self.config.conv_stride + 1)

    def _is_of_bytes(self, attention_mask, length):
        """True for a mask of bytes, False for one of tokens, of which there are always fewer."""
        if attention_mask.shape[1] in (length, self._tokens_of(length)):
            return attention_mask.shape[1] == length
        raise ValueError(
            f"attention_mask has {attention_mask.shape[1]} columns; give one per byte ({length}), or the mask of the "
            f"tokens ({self._tokens_of(length)}), which get_token_mask makes."
        )

    def _prepare(self, input_ids, attention_mask):
        """Ids with the padding row's index for padding, and (batch,) tokens made of file bytes alone."""
        padding_row = self.config.vocab_size - 1
        input_ids = input_ids.long()  # among uint8, -1 would be equal to 255
        is_padding = input_ids == PADDING
        if padding_row >= BYTE_VALUES:  # else it is a byte's row as well, and the id may stand for that byte
            is_padding = is_padding | (input_ids == padding_row)
        if attention_mask is not None and self._is_of_bytes(attention_mask, input_ids.shape[1]):
            is_padding = is_padding | (attention_mask == 0)
        input_ids = torch.where(is_padding, padding_row, input_ids)
        file_bytes = (~is_padding).sum(dim=1)
        tokens = (file_bytes - self.config.conv_kernel_size) // self.config.conv_stride + 1
        return input_ids, tokens.clamp(min=0)

    def _pool(self, hidden_states, token_mask):
        # CoreNet's sum over its never-filled mask: the mean over all tokens, padding included.
        if not self.config.mask_padding:
            return hidden_states.mean(dim=1)
        total = (hidden_states * token_mask[..., None]).sum(dim=1)
        return total / token_mask.sum(dim=1, keepdim=True).clamp(min=1)


def check_length(config, length):
    """Raises ValueError where an input of `length` bytes is too short for one token or too long for the positions."""
    if length < config.conv_kernel_size:
        raise ValueError(
            f"The input is {length} bytes long; this model's byte convolution needs at least "
            f"{config.conv_kernel_size} bytes (pad with {PADDING} to reach them)."
        )
    # A table of one row is added to every token, in CoreNet as in any broadcast.
    if length > config.max_bytes and config.max_position_embeddings > 1:
        tokens = (length - config.conv_kernel_size) // config.conv_stride + 1
        raise ValueError(
            f"The input is {length} bytes long; this model takes at most {config.max_bytes} bytes "
            f"(its position table has {config.max_position_embeddings} rows, the input has {tokens} tokens)."
        )


class ByteFormerForClassification(ByteFormerPreTrainedModel):
    """ByteFormerModel with a linear classifier on the mean token; the base of the two task classes."""

    output_class: type[ModelOutput] = ImageClassifierOutput

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.byteformer = ByteFormerModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        labels=None,
        output_attentions=None,
        output_hidden_states=None,
        **kwargs,
    ):
        """Classifies files.

        Args:
            input_ids: (batch, bytes) integers, padded on the right with -1 or with `vocab_size - 1`; not changed.
            attention_mask: (batch, bytes), 0 where a byte is padding, as another way of saying so.
            labels: (batch,) class indices; then the output holds the loss.
            output_attentions: Whether to return attention probabilities.
            output_hidden_states: Whether to return the output of every layer.

        Returns:
            An output with `logits` (batch, num_labels) over all classes and, where asked for, `loss`.

        Raises:
            ValueError: Fewer bytes than the kernel, more than the position table has room for, or no input_ids.
        """
        outputs = self.byteformer(
            input_ids,
            attention_mask=attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        logits = self.classifier(outputs.pooler_output)
        loss = None if labels is None else self.loss_function(labels, logits, self.config, **kwargs)
        return self.output_class(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class ByteFormerForImageClassification(ByteFormerForClassification):
    """ByteFormer for the bytes of image files."""


class ByteFormerForAudioClassification(ByteFormerForClassification):
    """ByteFormer for the bytes of audio files."""

    output_class = SequenceClassifierOutput


__all__ = [
    "ByteFormerForAudioClassification",
    "ByteFormerForImageClassification",
    "ByteFormerModel",
    "ByteFormerPreTrainedModel",
]
