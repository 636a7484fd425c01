# Copied as it stands into every converted folder: it runs on machines where only transformers is installed.
"""What a ByteFormer does otherwise for inference on a CPU: the numbers of the modules' own steps, in less time.

Axis names as in modeling_byteformer.py: batch, bytes, tokens, windows (batch x windows of one layer), window (tokens in
one), hidden.
"""

import hashlib

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

GROUP_ENTRIES = 512 * 192  # tokens x channels that each thread takes through a whole layer: they stay in its cache
FILLING_STEP = 64  # even; zero tokens are left out by as many: oneDNN compiles kernels for each number of tokens anew
PACKED_ENTRIES = 2**21  # of a layer's weights at most: in larger ones packing gains less than the memory is worth
PLAIN_TENSORS = (torch.Tensor, nn.Parameter)
# Each folder's own: the code of another may be of another version.
OPERATORS = "byteformer_" + hashlib.sha256(__name__.encode(errors="backslashreplace")).hexdigest()[:16]


class MadeOfWeights:
    """What is made of some weights, for as long as the first of them lives and all have the values it was made of.

    The values are looked at each time: a version counter misses what is written through `.data`, as PEFT merges.
    """

    def __init__(self, make):
        self._make = make
        self._kept = WeakIdKeyDictionary()

    def of(self, *weights):
        """`make(*weights)`, or what that gave the last time."""
        kept = self._kept.get(weights[0])  # read and written at once: other threads may be here
        if kept is None or not have_same_values(kept[0], weights):
            # Made of the copies: what another thread writes into the weights meanwhile must not be in one of the two.
            copies = tuple(weight.detach().clone() for weight in weights)
            kept = self._kept[weights[0]] = copies, self._make(*copies)
        return kept[1]

    def forget(self, module):
        """Gives back the memory of what was made of a module's weights."""
        for weight in module.parameters():
            self._kept.pop(weight, None)


def have_same_values(left, right):
    """Also of unlike number or dtype, which are not the same."""
    return len(left) == len(right) and all(
        one.dtype == other.dtype and torch.equal(one, other) for one, other in zip(left, right, strict=True)
    )


def is_plain(module, kind):
    """Whether a module is what this project made it, and calling it does nothing but its own forward pass."""
    return type(module) is kind and not has_hooks(module) and "forward" not in module.__dict__


def has_hooks(module):
    """Whether somebody watches a module, or all modules: then it has to be called once, with all of its input."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or nn.modules.module._global_forward_hooks
        or nn.modules.module._global_forward_pre_hooks
    )


def is_transformed():
    """Whether torch.func or forward-mode differentiation is at work, which oneDNN's operators know nothing of."""
    if torch.compiler.is_compiling():
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def in_groups(attend, feed, hidden_states, window_size, window_shift, halve=None, by_token=False):
    """All windows of a layer without a roll: those that do not wrap around are views; few at a time go through.

    Args:
        attend: The attention's half of a layer, (windows, window, hidden) -> the same, not in place.
        feed: The other half, of the same shapes; or, `by_token`, of any (batch, tokens, hidden), each token for itself.
        hidden_states: (batch, tokens, hidden).
        window_size: Tokens of a window.
        window_shift: Tokens by which the sequence is rolled, fewer than it has; if it has no more than a window, it is
            not rolled.
        halve: (..., tokens, hidden) -> (..., tokens / 2, hidden), to merge the pairs of each group while it is in the
            cache; `window_size` and `window_shift` are even then. An odd last token gets a zero token.
        by_token: Whether zero tokens that fill the last window can be left out after the attention.

    Returns:
        (batch, tokens, hidden), or ceil(tokens / 2) of them.
    """
    batch, tokens, hidden = hidden_states.shape
    shift, whole, most = groups_of(hidden_states, window_size, window_shift)
    end = shift + whole * window_size
    step = 1 if halve is None else 2
    output = hidden_states.new_empty(batch, -(-tokens // step), hidden)
    # (batch, tokens, hidden) -> (batch, windows, window, hidden)
    source = hidden_states[:, shift:end].unflatten(1, (whole, window_size))
    target = output[:, shift // step : end // step].unflatten(1, (whole, window_size // step))
    for group in groups(batch, whole, most):
        windows = feed(attend(source[group].flatten(0, 1)))
        target[group] = (windows if halve is None else halve(windows)).view_as(target[group])
    if end - shift < tokens:
        filling, last = -tokens % window_size, tokens - end
        zeros = hidden_states.new_zeros(batch, filling, hidden)
        rest = torch.cat([hidden_states[:, end:], zeros, hidden_states[:, :shift]], dim=1)
        rest = attend(rest.view(-1, window_size, hidden))
        if by_token and filling >= FILLING_STEP:
            kept = last + filling % FILLING_STEP
            rest = rest.view(batch, -1, hidden)
            rest = torch.cat([rest[:, :kept], rest[:, last + filling :]], dim=1)
        rest = feed(rest).view(batch, -1, hidden)
        if halve is not None:
            if tokens % 2:
                rest[:, last] = 0
            rest = halve(rest)
        output[:, end // step :] = rest[:, : output.shape[1] - end // step]
        output[:, : shift // step] = rest[:, rest.shape[1] - shift // step :]
    return output


def groups_of(hidden_states, window_size, window_shift):
    """The shift, how many windows of each row go through as views, and how many make a group at most.

    Those that wrap around or are filled up have to be copied. Others are copied with them as far as they make a group
    as large as the rest: a copy costs less than a small group.
    """
    batch, tokens, hidden = hidden_states.shape
    shift = window_shift if tokens > window_size else 0  # attention within one window does not know the order
    most = max(GROUP_ENTRIES * torch.get_num_threads() // (window_size * hidden), 1)
    windows, whole = -(-tokens // window_size), (tokens - shift) // window_size
    balanced = windows - balanced_size(windows, most)
    if balanced < whole < windows and batch * (windows - balanced) <= most:
        whole = balanced
    return shift, whole, most


def balanced_size(windows, most):
    """Windows of a group: the fewest groups of at most `most`, as large as each other, since small ones take longer."""
    return -(-windows // -(-windows // most)) if windows else most


def groups(batch, windows, most):
    """Index pairs, rows and windows, that cut a batch into groups of at most `most` windows (or one row of fewer)."""
    rows, size = max(most // max(windows, 1), 1), balanced_size(windows, most)
    for first_row in range(0, batch, rows):
        for first_window in range(0, windows, size):
            yield slice(first_row, first_row + rows), slice(first_window, first_window + size)


def can_fuse(hidden_states, tensors):
    """Whether this torch has oneDNN's linear with what follows it, for these; torch.compile uses it, torch.nn does not.

    Args:
        hidden_states: What goes in.
        tensors: The weights and biases of the linear layers.
    """
    dtype = hidden_states.dtype
    return (
        HAS_FUSED_LINEAR
        and not is_transformed()
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and HAS_BFLOAT16))
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        # Quantized weights are subclasses, and say that they are float32.
        and all(type(tensor) in PLAIN_TENSORS and tensor.dtype == dtype for tensor in (hidden_states, *tensors))
    )


def has_fused_linear():
    """Whether this torch has the operators that `fused_layer` calls; they are not in its documentation."""
    if not torch.backends.mkldnn.is_available():
        return False
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return operator is not None and {"default", "binary"} <= set(operator.overloads())


def has_bfloat16():
    """Whether oneDNN computes in bfloat16 on this processor."""
    operator = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return operator is not None and operator()


HAS_FUSED_LINEAR = has_fused_linear()
HAS_BFLOAT16 = HAS_FUSED_LINEAR and has_bfloat16()


def can_pack_weights():
    """Whether this torch lets oneDNN lay weights out as its matrix products like them best."""
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def pack_weights(*weights):
    """The same weights in oneDNN's own layout; only `fused_linear` can read it."""
    return tuple(torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 2048) for weight in weights)


PACKED_WEIGHTS = MadeOfWeights(pack_weights)


def fused_linear(hidden_states, weight, bias=None, activation="none", residual=None):
    """`activation(linear(hidden_states))`, or `linear(hidden_states) + residual`, as one operation.

    Args:
        hidden_states: (..., inputs).
        weight: (outputs, inputs), as it is or packed.
        bias: (outputs,) or None.
        activation: `none` or `gelu`.
        residual: (..., outputs), or None.
    """
    operator = torch.ops.mkldnn._linear_pointwise
    if residual is not None:
        return operator.binary(hidden_states, residual, weight, bias, "add")
    return operator(hidden_states, weight, bias, activation, [], "none")


def fused_layer(hidden_states, weights, biases, norms, epsilons, window_size, window_shift, heads, switches):
    """A ByteFormer layer with biases, GELU and residuals inside the matrix products: no pass over a tensor for them.

    Args:
        hidden_states: (batch, tokens, hidden).
        weights: Of q, k, v, o, the two of the feed-forward network and, where pairs are merged, of that.
        biases: Of the same, but for the merge's, which has none.
        norms: Weight and bias of the norm before attention, of that after it and, where pairs are merged, of theirs.
        epsilons: Of the same.
        window_size: Tokens of a window.
        window_shift: Tokens by which the sequence is rolled.
        heads: Attention heads.
        switches: Whether norms are over the last axis whatever the length, and whether a layer's own are in float32.

    Returns:
        (batch, tokens or, after a merge, ceil(tokens / 2), hidden).
    """
    last_axis_only, norm_fp32 = switches
    batch, tokens, hidden = hidden_states.shape
    _, _, most = groups_of(hidden_states, window_size, window_shift)
    is_one_group = batch * -(-tokens // window_size) <= most
    if not is_one_group and can_pack_weights() and sum(weight.numel() for weight in weights) <= PACKED_ENTRIES:
        weights = PACKED_WEIGHTS.of(*weights)
    linears = [*zip(weights[:6], biases, strict=True)]
    scaling = (hidden // heads) ** -0.5

    by_token = last_axis_only or window_size != hidden  # else the norms of a window go by its other axis

    def norm(index, windows):
        weight, bias = norms[2 * index : 2 * index + 2]
        return layer_norm(windows, weight, bias, epsilons[index], by_token, norm_fp32)

    def attend(windows):
        normed = norm(0, windows)
        query, key, value = (split_heads(fused_linear(normed, *linear), heads) for linear in linears[:3])
        context = F.scaled_dot_product_attention(query, key, value, scale=scaling)
        return fused_linear(context.transpose(1, 2).flatten(2), *linears[3], residual=windows)

    def feed(windows):
        activated = fused_linear(norm(1, windows), *linears[4], activation="gelu")
        return fused_linear(activated, *linears[5], residual=windows)

    if len(weights) == 6:
        return in_groups(attend, feed, hidden_states, window_size, window_shift, by_token=by_token)
    weight, bias = norms[4:]
    # The axis rule asks for the length of the whole, not of a group.
    norm_by_group = last_axis_only or (tokens + 1) // 2 != hidden

    def merge(windows):
        merged = fused_linear(windows.reshape(windows.shape[0], -1, 2 * hidden), weights[6])
        return layer_norm(merged, weight, bias, epsilons[2], last_axis_only=True) if norm_by_group else merged

    merged = in_groups(attend, feed, hidden_states, window_size, window_shift, merge, by_token)
    return merged if norm_by_group else layer_norm(merged, weight, bias, epsilons[2])


def split_heads(projected, heads):
    """(windows, window, hidden) -> (windows, heads, window, head)."""
    return projected.view(*projected.shape[:2], heads, -1).transpose(1, 2)


def layer_norm(hidden_states, weight, bias, eps, last_axis_only=False, fp32=False):
    """LayerNorm with CoreNet's axis rule, see ByteFormerLayerNorm.

    Args:
        hidden_states: (batch, tokens, hidden).
        weight: (hidden,).
        bias: (hidden,).
        eps: Added to the variance, or, where the rule is met, to the standard deviation.
        last_axis_only: Without the rule.
        fp32: Compute in float32.
    """
    dtype = hidden_states.dtype
    if fp32:
        hidden_states, weight, bias = hidden_states.float(), weight.float(), bias.float()
    if last_axis_only or hidden_states.shape[1] != hidden_states.shape[2]:
        return F.layer_norm(hidden_states, weight.shape, weight, bias, eps).to(dtype)
    return layer_norm_over_tokens(hidden_states, weight, bias, eps).to(dtype)


def layer_norm_over_tokens(hidden_states, weight, bias, eps):
    """The norm over axis 1, of (batch, hidden, hidden)."""
    std, mean = torch.std_mean(hidden_states, dim=1, keepdim=True, unbiased=False)
    return torch.addcmul(bias[None, :, None], (hidden_states - mean) / (std + eps), weight[None, :, None])


def byte_table(embeddings, kernel):
    """(vocab, hidden) embeddings and a (hidden, hidden, kernel) convolution -> (kernel x vocab, hidden).

    In float32 at least: tokens are sums of its rows.
    """
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    return (embeddings.to(dtype) @ kernel.to(dtype).permute(2, 1, 0)).flatten(0, 1)


BYTE_TABLES = MadeOfWeights(byte_table)


def look_up_tokens(input_ids, embeddings, kernel, stride):
    """Embedding and convolution together are linear in one-hot bytes: a token is the sum of table rows, one a byte.

    Args:
        input_ids: (batch, bytes), without -1.
        embeddings: (vocab, hidden).
        kernel: (hidden, hidden, kernel), of the convolution.
        stride: Of the convolution.

    Returns:
        (batch, tokens, hidden).

    Raises:
        IndexError: An id that is no row of the embeddings. In the table it would be a row of another byte.
    """
    vocab = embeddings.shape[0]
    if input_ids.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(extreme) for extreme in input_ids.aminmax()) if input_ids.numel() else (0, 0)
        if low < 0 or high >= vocab:
            raise IndexError(f"ids are 0 to {vocab - 1}, or -1 for padding; these go from {low} to {high}")
    # Elsewhere comparing costs more than it saves; what is traced has no values to compare.
    is_learned = torch.is_grad_enabled() and (embeddings.requires_grad or kernel.requires_grad)
    keeps = embeddings.device.type == "cpu" and not is_learned and not torch.compiler.is_compiling()
    table = BYTE_TABLES.of(embeddings, kernel) if keeps else byte_table(embeddings, kernel)
    size = kernel.shape[2]
    rows = input_ids.unfold(1, size, stride) + torch.arange(size, device=input_ids.device) * vocab
    tokens = F.embedding_bag(rows.flatten(0, 1), table, mode="sum")  # of (batch x tokens, kernel) rows
    return tokens.view(*rows.shape[:2], -1).to(kernel.dtype)


def as_operator(function, schema, fake):
    """A function as an operator of torch's, which torch.compile calls and does not look into."""
    name = f"{OPERATORS}::{function.__name__}"
    operator = torch.library.custom_op(name, function, mutates_args=(), schema=schema, device_types="cpu")
    operator.register_fake(fake)
    return operator


def fake_layer(hidden_states, weights, *_):
    batch, tokens, hidden = hidden_states.shape
    return hidden_states.new_empty(batch, tokens if len(weights) == 6 else (tokens + 1) // 2, hidden)


def fake_tokens(input_ids, embeddings, kernel, stride):
    batch, length = input_ids.shape
    return kernel.new_empty(batch, (length - kernel.shape[2]) // stride + 1, kernel.shape[0])


layer_operator = as_operator(
    fused_layer,
    "(Tensor hidden_states, Tensor[] weights, Tensor[] biases, Tensor[] norms, float[] epsilons, SymInt window_size, "
    "SymInt window_shift, SymInt heads, bool[] switches) -> Tensor",
    fake_layer,
)
tokens_operator = as_operator(
    look_up_tokens, "(Tensor input_ids, Tensor embeddings, Tensor kernel, SymInt stride) -> Tensor", fake_tokens
)
