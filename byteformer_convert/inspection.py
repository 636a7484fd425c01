"""What is in a YAML, a checkpoint or a folder; what would map to what, and what would fail. Converts nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.checking import read_checkpoint
from byteformer_convert.corenet.option_table import shown
from byteformer_convert.corenet.options import load_options
from byteformer_convert.corenet.state_dict import Mismatch, expected_shapes, find_mismatches, fold, layers_of
from byteformer_convert.errors import FolderError, MappingError, UsageError

if TYPE_CHECKING:
    from byteformer_convert.corenet.checkpoint import Checkpoint, WeightsKey
    from byteformer_convert.corenet.options import CoreNetOptions

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorFamily:
    """Tensors that differ in their layer's index alone.

    Attributes:
        name: CoreNet's name with `{i}`, or the folder's.
        layers: Indices; empty where the name has none.
        shape: Of each.
        parameters: Of all together.
        targets: Where each goes in a converted folder (or, for a folder, CoreNet's name); empty where nowhere.
        how: What happens to the numbers on the way.
    """

    name: str
    layers: tuple[int, ...]
    shape: Shape
    parameters: int
    targets: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes:
        subject: File or folder names.
        facts: Pairs of what and value, for people.
        options: CoreNet's resolved options, where there is a YAML.
        families: The parameter table.
        mismatches: What would make a conversion fail.
        notes: Sentences that a person should read.
    """

    subject: str
    facts: tuple[tuple[str, str], ...]
    options: Mapping[str, Any] | None
    families: tuple[TensorFamily, ...]
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(family.parameters for family in self.families)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "subject": self.subject,
            "facts": dict(self.facts),
            "options": None if self.options is None else dict(self.options),
            "parameters": self.parameters,
            "tensors": [asdict(family) for family in self.families],
            "mismatches": [mismatch.to_dict() for mismatch in self.mismatches],
            "convertible": not self.mismatches,
            "notes": list(self.notes),
        }


def inspect(
    config: Path | None = None,
    weights: Path | None = None,
    folder: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    weights_key: WeightsKey = "auto",
) -> Inspection:
    """Looks at a YAML, a checkpoint, both, or a finished folder.

    Raises:
        UsageError: Nothing to look at, or a folder together with one of the others.
        InputError: Something cannot be read.
    """
    if folder is not None:
        if config is not None or weights is not None:
            raise UsageError("a folder is inspected alone.", hint="Leave --config and --weights out; see verify.")
        return inspect_folder(folder)
    if config is None and weights is None:
        raise UsageError("nothing to inspect.", hint="Give --config, --weights or both, or a converted folder.")
    if config is None and weights is not None and weights.is_dir():
        config = weights
    options = None if config is None else load_options(config, overrides)
    checkpoint = None if weights is None else read_checkpoint(weights, weights_key)
    return _inspect_source(options, checkpoint)


def inspect_folder(folder: Path) -> Inspection:
    """Looks at a converted folder.

    Raises:
        FolderError: It is not one.
    """
    from byteformer_convert.mapping.weights import source_names
    from byteformer_convert.output.finished import read_config
    from byteformer_convert.output.folder_fields import CONFIG_FIELDS, field_problems
    from byteformer_convert.output.weight_files import weight_shapes

    config = read_config(folder)
    shapes = weight_shapes(folder)
    try:
        source_names(shapes)
    except MappingError as error:
        raise FolderError(f"its weights cannot be used: {error}.", where=folder) from error
    facts = (
        ("model", _short(config.get("architectures"))),
        ("classes", str(shapes["classifier.weight"][0]) if "classifier.weight" in shapes else "no classifier"),
        ("dtype", _short(config.get("dtype"))),
        ("tensors", str(len(shapes))),
        *(
            (name, _short(config[name]))
            for name in ("hidden_size", "num_hidden_layers", "conv_kernel_size")
            if name in config
        ),
    )
    notes = tuple(f"config.json cannot be used: {problem}." for problem in field_problems(config, CONFIG_FIELDS))
    return Inspection(folder.name, facts, None, _folder_families(shapes), (), notes)


def _inspect_source(options: CoreNetOptions | None, checkpoint: Checkpoint | None) -> Inspection:
    shapes = expected_shapes(options) if options is not None else {}
    mismatches: tuple[Mismatch, ...] = ()
    notes: tuple[str, ...] = () if options is None else options.ignored
    if checkpoint is not None:
        shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
        notes = (f"Took {checkpoint.choice_sentence()}.", *notes)
        if options is not None:
            mismatches = find_mismatches(shapes, options)
    facts = (*_option_facts(options), *_checkpoint_facts(checkpoint))
    names = [] if options is None else [options.source]
    names += [] if checkpoint is None else [checkpoint.path.name]
    resolved = None if options is None else options.resolved()
    return Inspection(" and ".join(names), facts, resolved, families(shapes), mismatches, notes)


def _option_facts(options: CoreNetOptions | None) -> tuple[tuple[str, str], ...]:
    if options is None:
        return ()
    merges = [index for index, merged in enumerate(options.downsample) if merged]
    return (
        ("task", f"{options.task} classification, {options.n_classes} classes"),
        (
            "mode",
            f"{options.mode}: {options.num_layers} layers of {options.embed_dim} channels, {options.num_heads} heads",
        ),
        ("convolution", f"{options.conv_kernel_size} bytes a token, stride {options.stride}"),
        ("positions", f"{options.max_num_tokens}, {'sinusoidal' if options.sinusoidal_pos_emb else 'learned'}"),
        ("windows", _runs(options.window_sizes)),
        ("shifts", _runs(options.window_shifts)),
        ("merges after", ", ".join(map(str, merges)) or "no layer"),
        ("activation, norm", f"{options.activation}, {options.norm_layer}"),
    )


def _checkpoint_facts(checkpoint: Checkpoint | None) -> tuple[tuple[str, str], ...]:
    if checkpoint is None:
        return ()
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()})
    return (
        ("file", f"{checkpoint.kind}, {checkpoint.container}, {checkpoint.size:,} bytes"),
        ("sha256", checkpoint.sha256),
        ("tensors", f"{len(checkpoint.tensors)}, {', '.join(dtypes)}"),
    )


def families(shapes: Mapping[str, Shape]) -> tuple[TensorFamily, ...]:
    """CoreNet's tensors folded over layers, with where each goes."""
    from byteformer_convert.mapping.weights import route

    groups: dict[tuple[str, Shape], list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault((fold(name), shape), []).append(name)
    found = []
    for (name, shape), members in groups.items():
        way = route(members[0])
        targets = () if way is None else tuple(_fold_target(target) for target in way.targets)
        how = "unknown to CoreNet's ByteFormer" if way is None else way.rule.rearrangement.name
        found.append(TensorFamily(name, layers_of(members), shape, _count(shape) * len(members), targets, how))
    return tuple(found)


def _folder_families(shapes: Mapping[str, Shape]) -> tuple[TensorFamily, ...]:
    from byteformer_convert.mapping.weights import source_names

    groups: dict[tuple[str, Shape], list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault((_fold_target(name), shape), []).append(name)
    return tuple(
        TensorFamily(name, _indices(members), shape, _count(shape) * len(members), _sources(members, source_names), "")
        for (name, shape), members in groups.items()
    )


def _sources(members: Sequence[str], source_names: Any) -> tuple[str, ...]:
    return tuple(fold(name) for name in source_names({members[0]: None}))


def _fold_target(name: str) -> str:
    head, _, tail = name.partition("layers.")
    return f"{head}layers.{{i}}.{tail.partition('.')[2]}" if tail else name


def _indices(members: Sequence[str]) -> tuple[int, ...]:
    return tuple(sorted(int(name.split("layers.")[1].split(".")[0]) for name in members if "layers." in name))


def _count(shape: Shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _short(value: Any) -> str:
    """A value of a file that anybody may have written."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return f"{value:.100}" if isinstance(value, str) else shown(value)


def _runs(values: Sequence[int]) -> str:
    """`128` where all are equal, else the list."""
    return str(values[0]) if len(set(values)) == 1 else ", ".join(map(str, values))
