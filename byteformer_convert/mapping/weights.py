"""Where each CoreNet tensor goes, as data, in both directions.

`{i}` stands for a layer's index, `{p}` for weight or bias. A rule with a `Rearrangement` is not a mere rename.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch

from byteformer_convert.errors import MappingError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rearrangement:
    """What happens to a tensor beside its new name: one tensor apart into some, and some together into one."""

    name: str
    apart: Callable[[Tensor], tuple[Tensor, ...]]
    together: Callable[[tuple[Tensor, ...]], Tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """One CoreNet name, or a family of them, and the folder's name or names."""

    source: str
    targets: tuple[str, ...]
    rearrangement: Rearrangement


def _positions_apart(table: Tensor) -> tuple[Tensor, ...]:
    return (table.reshape(table.shape[-2:]),)  # (1, 1, tokens, hidden) -> (tokens, hidden)


def _positions_together(parts: tuple[Tensor, ...]) -> Tensor:
    return parts[0].reshape(1, 1, *parts[0].shape)


def _merge_apart(weight: Tensor) -> tuple[Tensor, ...]:
    # Columns 2c + t (channel c of token t) -> t * hidden + c: a merge of two tokens becomes a reshape.
    return (weight.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1).contiguous(),)


def _merge_together(parts: tuple[Tensor, ...]) -> Tensor:
    return parts[0].unflatten(1, (2, -1)).transpose(1, 2).flatten(1).contiguous()


AS_IT_IS = Rearrangement("as it is", lambda tensor: (tensor,), lambda parts: parts[0])
SPLIT_QKV = Rearrangement("split q, k, v", lambda tensor: tensor.chunk(3), torch.cat)
SQUEEZE_POSITIONS = Rearrangement("squeeze", _positions_apart, _positions_together)
DEINTERLEAVE = Rearrangement("de-interleave tokens", _merge_apart, _merge_together)


def _rule(source: str, target: str, how: Rearrangement = AS_IT_IS) -> Rule:
    """`[qkv]` in a target stands for three names."""
    targets = [target.replace("[qkv]", part) for part in "qkv"] if "[qkv]" in target else [target]
    return Rule(source, tuple(targets), how)


# fmt: off
_B, _L, _T = "byteformer.", "byteformer.layers.{i}.", "transformer.{i}."
RULES: tuple[Rule, ...] = (
    _rule("embeddings.weight",                            _B + "embeddings.byte_embeddings.weight"),
    _rule("token_reduction_net.weight",                   _B + "embeddings.projection.weight"),
    _rule("pos_embed.pos_embed.pos_embed",                _B + "embeddings.position_embeddings", SQUEEZE_POSITIONS),
    _rule(_T + "pre_norm_mha.0.{p}",                      _L + "layernorm_before.{p}"),
    _rule(_T + "pre_norm_mha.1.qkv_proj.{p}",             _L + "attention.[qkv]_proj.{p}", SPLIT_QKV),
    _rule(_T + "pre_norm_mha.1.out_proj.{p}",             _L + "attention.o_proj.{p}"),
    _rule(_T + "pre_norm_ffn.0.{p}",                      _L + "layernorm_after.{p}"),
    _rule(_T + "pre_norm_ffn.1.{p}",                      _L + "mlp.fc1.{p}"),
    _rule(_T + "pre_norm_ffn.2.weight",                   _L + "mlp.activation.weight"),  # with prelu alone
    _rule(_T + "pre_norm_ffn.4.{p}",                      _L + "mlp.fc2.{p}"),
    _rule("downsamplers.downsample_{i}.reduction.weight", _L + "token_merging.reduction.weight", DEINTERLEAVE),
    _rule("downsamplers.downsample_{i}.norm.{p}",         _L + "token_merging.norm.{p}"),
    _rule("post_transformer_norm.{p}",                    _B + "layernorm.{p}"),
    _rule("classifier.{p}",                               "classifier.{p}"),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Route:
    """One CoreNet tensor's way: its name, the folder's names, and what happens between them."""

    source: str
    targets: tuple[str, ...]
    rule: Rule

    def apart(self, tensor: Tensor) -> dict[str, Tensor]:
        """CoreNet's tensor -> the folder's, by name."""
        return dict(zip(self.targets, self.rule.rearrangement.apart(tensor), strict=True))

    def together(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The folder's tensors -> CoreNet's."""
        return self.rule.rearrangement.together(tuple(tensors[name] for name in self.targets))


def route(source: str) -> Route | None:
    """The way of one CoreNet name, or None where no rule knows it."""
    for rule in RULES:
        if found := _pattern(rule.source).fullmatch(source):
            return Route(source, tuple(name.format(**found.groupdict()) for name in rule.targets), rule)
    return None


def map_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CoreNet's state dict -> the folder's.

    Args:
        tensors: Tensors under CoreNet's names, all of them known to a rule.

    Returns:
        Contiguous tensors under the folder's names; views of the given ones wherever the bytes stay in order.

    Raises:
        MappingError: A name that no rule knows, or two that lead to the same place.
    """
    mapped: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for target, part in _known_route(name).apart(tensor).items():
            if target in mapped:
                raise MappingError(f"two tensors of the checkpoint lead to {target}", where=name)
            mapped[target] = part.contiguous()
    return mapped


def unmap_weights(tensors: Mapping[str, Tensor], sources: Mapping[str, object]) -> Iterator[tuple[str, Tensor]]:
    """The folder's tensors back under CoreNet's names, one at a time.

    Args:
        tensors: Tensors under the folder's names.
        sources: CoreNet's names to produce, in their order.

    Raises:
        MappingError: The folder lacks a tensor, or holds one that comes from none of `sources`.
    """
    routes = [_known_route(name) for name in sources]
    wanted = {target for way in routes for target in way.targets}
    if missing := sorted(wanted - tensors.keys()):
        raise MappingError(f"the folder lacks {missing[0]} and {len(missing) - 1} more", where="model.safetensors")
    if unknown := sorted(tensors.keys() - wanted):
        raise MappingError(
            f"the folder holds {unknown[0]} and {len(unknown) - 1} more that the checkpoint does not have",
            where="model.safetensors",
        )
    return ((way.source, way.together(tensors)) for way in routes)


def source_names(targets: Mapping[str, object]) -> tuple[str, ...]:
    """CoreNet's names for a folder's tensor names, in the rules' order, layer by layer.

    Raises:
        MappingError: A name that no rule produces.
    """
    found: dict[str, None] = {}
    for target in targets:
        found[_source_of(target)] = None
    return tuple(found)


def _source_of(target: str) -> str:
    for rule in RULES:
        for pattern in rule.targets:
            if match := _pattern(pattern).fullmatch(target):
                return rule.source.format(**match.groupdict())
    raise MappingError("is not a tensor of a converted ByteFormer", where=target)


def _known_route(name: str) -> Route:
    if (way := route(name)) is None:
        raise MappingError("is not a tensor of CoreNet's ByteFormer", where=name)
    return way


@cache
def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    return re.compile(escaped.replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{p\}", r"(?P<p>weight|bias)"))
