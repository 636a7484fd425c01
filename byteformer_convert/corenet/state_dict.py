"""Which tensors CoreNet's ByteFormer has, and where a checkpoint departs from that."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

Shape = tuple[int, ...]
OPTION = "model.classification.byteformer"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One family of tensors that does not fit.

    Attributes:
        problem: `missing`, `unknown` or `shape`.
        name: CoreNet's name, `{i}` for the layer's index.
        layers: The layers it concerns, empty where the name has none.
        expected: Shape by the options, None where unknown.
        found: Shape in the checkpoint, None where missing.
        cause: The likely cause in CoreNet's terms.
    """

    problem: str
    name: str
    layers: tuple[int, ...]
    expected: Shape | None
    found: Shape | None
    cause: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def expected_shapes(options: CoreNetOptions) -> dict[str, Shape]:
    """Name and shape of every tensor that CoreNet's ByteFormer has under these options, in CoreNet's order."""
    dim, ffn = options.embed_dim, options.ffn_dim
    shapes: dict[str, Shape] = {
        "embeddings.weight": (options.vocab_size, dim),
        "token_reduction_net.weight": (dim, dim, options.conv_kernel_size),
        "pos_embed.pos_embed.pos_embed": (1, 1, options.max_num_tokens, dim),
    }
    for layer in (index for index, merges in enumerate(options.downsample) if merges):
        prefix = f"downsamplers.downsample_{layer}"
        shapes[f"{prefix}.reduction.weight"] = (dim, 2 * dim)
        shapes |= _weight_and_bias(f"{prefix}.norm", (dim,))
    for layer in range(options.num_layers):
        mha, feed_forward = f"transformer.{layer}.pre_norm_mha", f"transformer.{layer}.pre_norm_ffn"
        shapes |= _weight_and_bias(f"{mha}.0", (dim,))
        shapes |= _weight_and_bias(f"{mha}.1.qkv_proj", (3 * dim, dim))
        shapes |= _weight_and_bias(f"{mha}.1.out_proj", (dim, dim))
        shapes |= _weight_and_bias(f"{feed_forward}.0", (dim,))
        shapes |= _weight_and_bias(f"{feed_forward}.1", (ffn, dim))
        if options.activation == "prelu":
            shapes[f"{feed_forward}.2.weight"] = (1,)
        shapes |= _weight_and_bias(f"{feed_forward}.4", (dim, ffn))
    shapes |= _weight_and_bias("post_transformer_norm", (dim,))
    return shapes | _weight_and_bias("classifier", (options.n_classes, dim))


def find_mismatches(shapes: Mapping[str, Shape], options: CoreNetOptions) -> tuple[Mismatch, ...]:
    """Every difference between a checkpoint's shapes and those the options ask for, folded over layers."""
    expected = expected_shapes(options)
    problems = [("missing", name) for name in expected if name not in shapes]
    problems += [("shape", name) for name in expected if name in shapes and shapes[name] != expected[name]]
    problems += [("unknown", name) for name in shapes if name not in expected]
    families: dict[tuple[str, str, Shape | None, Shape | None], list[str]] = {}
    for problem, name in problems:
        key = (problem, fold(name), expected.get(name), shapes.get(name))
        families.setdefault(key, []).append(name)
    comparison = _Comparison(shapes, expected, options)
    return tuple(comparison.mismatch(problem, members) for (problem, *_), members in families.items())


def fold(name: str) -> str:
    """A tensor's name with `{i}` for the layer's index."""
    return re.sub(r"(?<=transformer\.)\d+|(?<=downsample_)\d+", "{i}", name)


def layers_of(names: Sequence[str]) -> tuple[int, ...]:
    """The layer indices in some names of one family."""
    found = (re.search(r"transformer\.(\d+)|downsample_(\d+)", name) for name in names)
    return tuple(int(match[1] or match[2]) for match in found if match)


def _weight_and_bias(name: str, shape: Shape) -> dict[str, Shape]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A checkpoint's shapes beside the expected ones; says why a family of tensors does not fit."""

    found: Mapping[str, Shape]
    expected: Mapping[str, Shape]
    options: CoreNetOptions

    def mismatch(self, problem: str, members: Sequence[str]) -> Mismatch:
        cause = {"missing": self._missing, "unknown": self._unknown, "shape": self._shape}[problem](members)
        want, got = self.expected.get(members[0]), self.found.get(members[0])
        return Mismatch(problem, fold(members[0]), layers_of(members), want, got, cause)

    def _shape(self, members: Sequence[str]) -> str:
        name, options = fold(members[0]), self.options
        want, got = self.expected[members[0]], self.found[members[0]]
        if len(want) != len(got):
            return f"the checkpoint has {len(got)} axes where CoreNet has {len(want)}"
        if got[-1] != want[-1] and name.endswith(("qkv_proj.weight", "embeddings.weight", "pos_embed.pos_embed")):
            return f"the checkpoint's embed dim is {got[-1]}, {OPTION}.mode {options.mode} has {options.embed_dim}"
        if name.startswith("classifier") and got[0] != want[0]:
            return f"the checkpoint has {got[0]} classes, model.classification.n_classes says {want[0]}"
        if name == "token_reduction_net.weight" and got[:2] == want[:2]:
            return f"the checkpoint's kernel is {got[2]}, {OPTION}.conv_kernel_size says {want[2]}"
        if name == "pos_embed.pos_embed.pos_embed":
            return f"the checkpoint has {got[-2]} positions, {OPTION}.max_num_tokens says {want[-2]}"
        if name == "embeddings.weight":
            return f"the checkpoint has {got[0]} byte values, {OPTION}.vocab_size says {want[0]}"
        return f"another {OPTION}.mode than {options.mode}"

    def _missing(self, members: Sequence[str]) -> str:
        name, layers = fold(members[0]), layers_of(members)
        merging = set(layers_of([key for key in self.found if key.startswith("downsamplers.")]))
        if name.startswith("downsamplers.") and merging.isdisjoint(layers):
            return f"the checkpoint does not merge after layer {_listed(layers)}, {OPTION}.downsample says it does"
        if name.endswith("pre_norm_ffn.2.weight") and not any(fold(key) == name for key in self.found):
            return "the checkpoint was not trained with prelu, model.activation.name says prelu"
        kept = set(layers_of([key for key in self.found if key.startswith("transformer.")]))
        if name.startswith("transformer.") and kept and kept.isdisjoint(layers):
            mode = f"{OPTION}.mode {self.options.mode}"
            return f"the checkpoint has {len(kept)} layers, {mode} has {self.options.num_layers}"
        if name.startswith("pos_embed"):
            return "the position table was not saved"
        return "not in the checkpoint: an incomplete file, or one of another model"

    def _unknown(self, members: Sequence[str]) -> str:
        name, layers, options = fold(members[0]), layers_of(members), self.options
        if layers and min(layers) >= options.num_layers:
            return f"the checkpoint has more layers than the {options.num_layers} of {OPTION}.mode {options.mode}"
        if name.startswith("downsamplers.") and layers and not any(options.downsample[layer] for layer in layers):
            return f"the checkpoint merges after layer {_listed(layers)}, {OPTION}.downsample says it does not"
        if name.endswith("pre_norm_ffn.2.weight"):
            return f"the checkpoint was trained with prelu, model.activation.name says {options.activation}"
        if near := difflib.get_close_matches(members[0], self.expected, n=1):
            return f"the nearest name that CoreNet has is {near[0]}"
        return "not a tensor of CoreNet's ByteFormer: another model?"


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))
