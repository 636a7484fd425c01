"""CoreNet's ByteFormer in plain torch, with CoreNet's own parameter names.

The side of the parity check that stands for CoreNet (v0.1.1): a raw `.pt` loads strictly, and every step is written
the long way (`torch.roll`, explicit windows, explicit softmax) so that it can be read beside CoreNet's. It imports
nothing of this package: two ports that share a helper share its mistakes.

Where CoreNet's code looks as if it did one thing and does another, the step is a function or a class of its own, named
after what it does, and its docstring names the place in CoreNet.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PADDING_ID = -1  # ByteFormer.get_backbone_inputs compares with this number, whatever the padding_index option says.
TOKENS_PER_MERGE = 2

# The modules of the stages that are not named after one.
STAGE_MODULES = {"embeddings": ("embeddings", "token_reduction_net", "pos_embed"), "logits": ("classifier",)}

Choice = TypeVar("Choice")


def padding_to_last_row(ids: Tensor, vocab_size: int) -> Tensor:
    """Ids with every -1 turned into the last row of the embedding table; a new tensor.

    That is all that sets padding apart. CoreNet's ByteFormer.get_backbone_inputs builds a mask as well, but fills a
    copy of it, so it stays zero: padding is attended to, merged and averaged like bytes, and the logits of a file
    depend on how far its batch was padded.
    """
    return torch.where(ids == PADDING_ID, vocab_size - 1, ids)


def sinusoidal_table(rows: int, channels: int) -> Tensor:
    """CoreNet's SinusoidalPositionalEmbedding, (rows, channels): all sines, then all cosines; a zero column if odd."""
    half = channels // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(rows, dtype=torch.float32)[:, None] * frequencies
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, channels % 2))


class PositionTable(nn.Module):
    """One row a token, (1, 1, max_num_tokens, channels): a parameter, or CoreNet's fixed sinusoids.

    The sinusoids are a persistent buffer, as in CoreNet: its checkpoints hold them under the same name.
    """

    pos_embed: Tensor

    def __init__(self, max_num_tokens: int, channels: int, *, sinusoidal: bool) -> None:
        super().__init__()
        if sinusoidal:
            self.register_buffer("pos_embed", sinusoidal_table(max_num_tokens, channels)[None, None])
        else:
            self.pos_embed = nn.Parameter(torch.zeros(1, 1, max_num_tokens, channels))

    def forward(self) -> Tensor:
        """The table as (1, max_num_tokens, channels)."""
        return self.pos_embed.squeeze(1)


def pad_tokens(hidden: Tensor, multiple: int) -> Tensor:
    """Zero tokens at the end of axis 1 up to a multiple: CoreNet's token_merging.pad_x_and_mask."""
    return F.pad(hidden, (0, 0, 0, -hidden.shape[1] % multiple))


def partition_windows(hidden: Tensor, window_size: int, window_shift: int) -> Tensor:
    """(batch, tokens, channels) -> (batch * windows, window_size, channels).

    CoreNet's window_x_and_key_padding_mask: pads first and rolls afterwards, so the padding moves with the tokens. A
    shift may be larger than the window or the sequence (it wraps); one below zero does nothing.
    """
    hidden = pad_tokens(hidden, window_size)
    if window_shift > 0:
        hidden = torch.roll(hidden, -window_shift, dims=1)
    return hidden.reshape(-1, window_size, hidden.shape[2])


def join_windows(windows: Tensor, window_shift: int, *, batch: int, tokens: int) -> Tensor:
    """(batch * windows, window_size, channels) -> (batch, tokens, channels): CoreNet's unwindow_x."""
    hidden = windows.reshape(batch, -1, windows.shape[2])
    if window_shift > 0:
        hidden = torch.roll(hidden, window_shift, dims=1)
    return hidden[:, :tokens]


def at_least_float32(tensor: Tensor) -> torch.dtype:
    """The dtype to compute in where CoreNet casts to float32: that, or float64 if the tensor has it already."""
    return torch.promote_types(tensor.dtype, torch.float32)


class CoreNetLayerNorm(nn.LayerNorm):
    """LayerNorm that runs over axis 1 where axis 1 happens to have as many entries as there are channels.

    CoreNet's LayerNorm.forward tells channel-first from channel-last tensors by the length of axis 1. Token tensors
    are always channel-last, so it goes wrong for windows of `channels` tokens, and for a merge or the last norm when
    exactly `channels` tokens arrive.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, channels) -> the same shape."""
        if hidden.ndim > 2 and hidden.shape[1] == self.normalized_shape[0]:
            return self.over_axis_1(hidden)
        return super().forward(hidden)

    def over_axis_1(self, hidden: Tensor) -> Tensor:
        """Also divides by (std + eps) instead of sqrt(var + eps), and indexes weight and bias by token.

        In a window that is zero but for a few tokens std is small, and every layer multiplies rounding noise: logits
        in float32 can be uncertain by 0.3. `std_mean` and `addcmul` round as CoreNet does, so at least on the same
        machine such inputs come out equal.
        """
        std, mean = torch.std_mean(hidden, dim=1, correction=0, keepdim=True)
        normed = (hidden - mean) / (std + self.eps)
        return torch.addcmul(self.bias[:, None], normed, self.weight[:, None])


class CoreNetLayerNormFP32(CoreNetLayerNorm):
    """The same in float32 for lower precisions: CoreNet's LayerNormFP32, `layer_norm_fp32`."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, channels) -> the same shape and dtype."""
        return super().forward(hidden.to(at_least_float32(hidden))).to(hidden.dtype)


def pick(choices: Mapping[str, Choice], name: str, *, option: str) -> Choice:
    """What `name` means among `choices`; like CoreNet, whatever its case."""
    if name.lower() not in choices:
        raise ValueError(f"{option} is {name!r}; the reference knows {', '.join(choices)}")
    return choices[name.lower()]


def make_norm(name: str, channels: int) -> nn.Module:
    """The norm that CoreNet's `norm_layer` option names."""
    norms = {"layer_norm": CoreNetLayerNorm, "layer_norm_fp32": CoreNetLayerNormFP32}
    return pick(norms, name, option="norm_layer")(channels)


class MultiHeadAttention(nn.Module):
    """Self-attention of every token with every token of its window, with no mask of any kind.

    CoreNet's WindowedTransformerEncoder.forward computes a mask for file padding, window padding and the wrap-around
    of the shift, and then does not hand it on. So the last window of a shifted layer mixes the end of the sequence with
    its beginning, and the zero tokens that fill the last window are attended to.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, hidden: Tensor) -> Tensor:
        """(windows, tokens, channels) -> the same shape."""
        windows, tokens, _ = hidden.shape
        qkv = self.qkv_proj(hidden).reshape(windows, tokens, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # three of (windows, heads, tokens, head_dim)
        scores = (query * self.head_dim**-0.5) @ key.transpose(-1, -2)  # (windows, heads, tokens, tokens)
        weights = scores.to(at_least_float32(scores)).softmax(dim=-1).to(scores.dtype)
        output: Tensor = self.out_proj((weights @ value).transpose(1, 2).reshape(hidden.shape))
        return output


def make_activation(name: str, neg_slope: float) -> nn.Module:
    """The activation that CoreNet's `model.activation.name` option names. Its gelu is the exact erf form."""
    activations: dict[str, Callable[[], nn.Module]] = {
        "gelu": nn.GELU,
        "hard_sigmoid": nn.Hardsigmoid,
        "hard_swish": nn.Hardswish,
        "leaky_relu": lambda: nn.LeakyReLU(neg_slope),
        "prelu": lambda: nn.PReLU(num_parameters=1),
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "sigmoid": nn.Sigmoid,
        "swish": nn.SiLU,
        "tanh": nn.Tanh,
    }
    return pick(activations, name, option="activation")()


class DropPath(nn.Module):
    """Drops whole rows of a residual branch during training: torchvision's StochasticDepth in mode "row".

    A row is an entry of axis 0, and the layers call it on windows: one file keeps some windows and loses others.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(rows, tokens, channels) -> the same shape, each row zero or divided by the rate of survival."""
        if not self.training or self.rate == 0:
            return branch
        survival = 1.0 - self.rate
        kept = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(survival)
        return branch * (kept / survival if survival > 0 else kept)


def drop_path_rates(highest: float, num_layers: int) -> list[float]:
    """One rate a layer, from 0 to `highest` in equal steps, rounded to three digits, both in the way of numpy."""
    step = highest / max(num_layers - 1, 1)
    rates = [layer * step for layer in range(num_layers - 1)] + [highest if num_layers > 1 else 0.0]
    return [round(rate * 1000) / 1000 for rate in rates]


class WindowedTransformerEncoder(nn.Module):
    """One layer: shift, split into windows, pre-norm attention and FFN inside each window, join, shift back.

    The FFN and both norms run on the windowed tensor too. For the norms that matters (`CoreNetLayerNorm`), and so it
    does for drop-path, which drops windows and not files.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        num_heads: int,
        ffn_dim: int,
        window_size: int,
        window_shift: int,
        norm_layer: str,
        activation: nn.Module,
        dropout: float,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        if dropout > 0 and drop_path_rate > 0:
            raise ValueError(f"dropout ({dropout}) and stochastic dropout ({drop_path_rate}) cannot both be on")
        self.window_size = window_size
        self.window_shift = window_shift
        # The positions inside the two sequences are part of CoreNet's parameter names.
        self.pre_norm_mha = nn.Sequential(
            make_norm(norm_layer, embed_dim),
            MultiHeadAttention(embed_dim, num_heads),
            nn.Dropout(dropout),
        )
        self.pre_norm_ffn = nn.Sequential(
            make_norm(norm_layer, embed_dim),
            nn.Linear(embed_dim, ffn_dim),
            activation,
            nn.Dropout(0.0),  # CoreNet's FFN dropout, zero in every mode
            nn.Linear(ffn_dim, embed_dim),
            nn.Dropout(dropout),
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, channels) -> the same shape."""
        batch, tokens, _ = hidden.shape
        windows = partition_windows(hidden, self.window_size, self.window_shift)
        windows = windows + self.drop_path(self.pre_norm_mha(windows))
        windows = windows + self.drop_path(self.pre_norm_ffn(windows))
        return join_windows(windows, self.window_shift, batch=batch, tokens=tokens)


def interleave_channels(hidden: Tensor) -> Tensor:
    """Pairs of tokens side by side, channel by channel: (batch, tokens, channels) -> (batch, tokens / 2, 2 * channels).

    Feature 2c + t holds channel c of token t, since CoreNet's TokenMerging.forward flattens the result of an unfold,
    which puts the token axis last. Swin and its descendants put whole tokens side by side.
    """
    batch, tokens, channels = hidden.shape
    pairs = hidden.reshape(batch, tokens // TOKENS_PER_MERGE, TOKENS_PER_MERGE, channels)
    return pairs.transpose(2, 3).flatten(2)


class TokenMerging(nn.Module):
    """Merges each pair of tokens into one. Its norm is plain `layer_norm`, whatever the norm_layer option says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(TOKENS_PER_MERGE * channels, channels, bias=False)
        self.norm = CoreNetLayerNorm(channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, channels) -> (batch, ceil(tokens / 2), channels)."""
        pairs = interleave_channels(pad_tokens(hidden, TOKENS_PER_MERGE))
        merged: Tensor = self.norm(self.reduction(pairs))
        return merged


def mean_over_all_tokens(hidden: Tensor) -> Tensor:
    """(batch, tokens, channels) -> (batch, channels).

    CoreNet's ByteFormer.forward divides by the count of tokens that its mask leaves; the mask is all zeros, so that is
    every token, padding included.
    """
    return hidden.sum(dim=1) / hidden.shape[1]


class CoreNetByteFormer(nn.Module):
    """CoreNet's ByteFormer, from byte ids to logits.

    The arguments are CoreNet's options with every per-layer list resolved to one value a layer. A model built directly
    has torch's own initial weights, not CoreNet's: it is meant to be filled from a checkpoint (`from_state_dict`).
    After `.double()` all of it runs in float64, for measuring the noise floor of float32.

    Raises:
        ValueError: A per-layer option does not have `num_layers` entries, the norm or the activation is not one that
            this port knows, or dropout and stochastic dropout are both on.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        ffn_dim: int,
        n_classes: int,
        vocab_size: int,
        max_num_tokens: int,
        conv_kernel_size: int,
        window_sizes: Sequence[int],
        window_shifts: Sequence[int],
        downsample: Sequence[bool],
        sinusoidal_pos_emb: bool,
        norm_layer: str,
        activation: str,
        neg_slope: float,
        dropout: float = 0.0,
        stochastic_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        # padding_idx keeps the gradient of the last row at zero. The forward pass looks that row up like any other.
        self.embeddings = nn.Embedding(vocab_size, embed_dim, padding_idx=-1)
        self.token_reduction_net = nn.Conv1d(
            embed_dim, embed_dim, kernel_size=conv_kernel_size, stride=conv_kernel_size // 2, bias=False
        )
        positions = PositionTable(max_num_tokens, embed_dim, sinusoidal=sinusoidal_pos_emb)
        self.pos_embed = nn.ModuleDict({"pos_embed": positions})  # for CoreNet's name, pos_embed.pos_embed.pos_embed
        self.emb_dropout = nn.Dropout(dropout)
        self.downsamplers = nn.ModuleDict()
        self.transformer = nn.Sequential()
        rates = drop_path_rates(stochastic_dropout, num_layers)
        per_layer = zip(window_sizes, window_shifts, rates, downsample, strict=True)
        for layer, (window_size, window_shift, drop_path_rate, merges) in enumerate(per_layer):
            encoder = WindowedTransformerEncoder(
                embed_dim=embed_dim,
                num_heads=num_heads,
                ffn_dim=ffn_dim,
                window_size=window_size,
                window_shift=window_shift,
                norm_layer=norm_layer,
                activation=make_activation(activation, neg_slope),
                dropout=dropout,
                drop_path_rate=drop_path_rate,
            )
            self.transformer.append(encoder)
            if merges:
                self.downsamplers[f"downsample_{layer}"] = TokenMerging(embed_dim)
        self.post_transformer_norm = make_norm(norm_layer, embed_dim)
        self.classifier = nn.Linear(embed_dim, n_classes)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], **options: Any) -> Self:
        """A model in evaluation mode around the tensors of a checkpoint.

        Tensors that are float32 already are taken over, not copied (so a memory-mapped checkpoint stays on disk until
        it is read); others are cast, as CoreNet does by copying a checkpoint into its float32 parameters.

        Args:
            state_dict: CoreNet's names and tensors.
            options: The arguments of the constructor.

        Raises:
            RuntimeError: A name is missing or unexpected, or a shape differs; torch's message lists all of them.
        """
        with torch.device("meta"):
            model = cls(**options)
        tensors = {name: tensor.to(torch.float32) for name, tensor in state_dict.items()}
        model.load_state_dict(tensors, strict=True, assign=True)
        return model.eval()

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of byte ids: (batch, bytes) int64, padded on the right with -1 -> (batch, n_classes).

        The caller's tensor stays as it is; CoreNet overwrites its -1 entries.

        Raises:
            RuntimeError: torch's own, for fewer bytes than the kernel or more tokens than the position table has rows.
        """
        hidden = ids
        for stage in self.stage_functions().values():
            hidden = stage(hidden)
        return hidden

    def stages(self, ids: Tensor) -> dict[str, Tensor]:
        """What every stage of the forward pass returns, in order; the last entry, "logits", is what `forward` returns.

        Names: "embeddings", "transformer.0", "downsamplers.downsample_0", ..., "post_transformer_norm", "logits".
        """
        outputs: dict[str, Tensor] = {}
        hidden = ids
        for name, stage in self.stage_functions().items():
            outputs[name] = hidden = stage(hidden)
        return outputs

    def stage_functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The stages by name, in order: each takes what the one before it returned, the first takes byte ids.

        Feed a tensor into one of them to compare that stage alone with another implementation's.
        """
        functions: dict[str, Callable[[Tensor], Tensor]] = {"embeddings": self.embed}
        for index, layer in enumerate(self.transformer):
            functions[f"transformer.{index}"] = layer
            if (merge := f"downsample_{index}") in self.downsamplers:
                functions[f"downsamplers.{merge}"] = self.downsamplers[merge]
        functions["post_transformer_norm"] = self.post_transformer_norm
        functions["logits"] = self.pool_and_classify
        return functions

    def run_stage(self, name: str, hidden: Tensor) -> Tensor:
        """One stage alone, on the given tensor (byte ids for "embeddings").

        Raises:
            KeyError: No stage has that name.
        """
        return self.stage_functions()[name](hidden)

    @contextmanager
    def in_float64(self, name: str) -> Iterator[Callable[[Tensor], Tensor]]:
        """One stage alone with its weights in float64; in float32 again after the block.

        For measuring the noise floor of float32: all stages at once would take twice the checkpoint's memory.

        Raises:
            KeyError: No stage has that name.
        """
        stage = self.stage_functions()[name]
        modules = [self.get_submodule(path) for path in STAGE_MODULES.get(name, (name,))]
        tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        floats = [tensor.data for tensor in tensors]
        for tensor in tensors:
            tensor.data = tensor.data.double()
        try:
            yield stage
        finally:
            for tensor, value in zip(tensors, floats, strict=True):
                tensor.data = value

    def embed(self, ids: Tensor) -> Tensor:
        """Embedding, byte convolution and positions: (batch, bytes) -> (batch, tokens, channels)."""
        hidden = self.embeddings(padding_to_last_row(ids, self.embeddings.num_embeddings))
        # (batch, bytes, channels) -> (batch, tokens, channels), tokens = (bytes - kernel) // (kernel // 2) + 1
        hidden = self.token_reduction_net(hidden.transpose(1, 2)).transpose(1, 2)
        positions = self.pos_embed["pos_embed"]()[:, : hidden.shape[1]]
        embedded: Tensor = self.emb_dropout(hidden + positions)
        return embedded

    def pool_and_classify(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, channels) -> (batch, n_classes)."""
        logits: Tensor = self.classifier(mean_over_all_tokens(hidden))
        return logits
