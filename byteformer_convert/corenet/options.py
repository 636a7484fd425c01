"""CoreNet's options for one ByteFormer, from a YAML or an adapter's config.json, checked and resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from byteformer_convert.corenet.flat_yaml import FlatFile, read_flat_json, read_flat_yaml
from byteformer_convert.corenet.option_table import (
    ALL_OPTIONS,
    BYTEFORMER,
    CATEGORIES,
    MODEL_OPTIONS,
    OTHER_MODEL_OPTIONS,
    PREPROCESSING_OPTIONS,
    SIZES,
    TASK_OPTIONS,
    BadValue,
    Option,
    shown,
)
from byteformer_convert.corenet.overrides import nearest, read_overrides
from byteformer_convert.errors import OptionsError

Task = Literal["image", "audio"]
_UNKNOWN_SHOWN: Final = 20  # looking for the nearest known key takes its time
PER_LAYER: Final = ("window_sizes", "window_shifts", "downsample")


@dataclass(frozen=True, slots=True)
class CoreNetOptions:
    """Everything CoreNet's options say about one ByteFormer, defaults filled in.

    Attributes:
        task: What `dataset.category` says: classification is image, audio_classification is audio.
        mode: tiny, small, base or huge; what it stands for is in embed_dim, num_layers, num_heads and ffn_dim.
        window_sizes: Tokens a window, one per layer.
        window_shifts: Tokens by which a layer's windows are shifted, one per layer; CoreNet shifts only if positive.
        downsample: Whether a layer merges pairs of tokens after it, one per layer.
        flat: Every key of the file after overrides, dotted, as the file has it.
        ignored: Sentences on what CoreNet ignores in the file although it looks as if it counted.
        source: Name of the file that it came from.
    """

    task: Task
    mode: str
    embed_dim: int
    num_layers: int
    num_heads: int
    ffn_dim: int
    vocab_size: int
    max_num_tokens: int
    conv_kernel_size: int
    window_sizes: tuple[int, ...]
    window_shifts: tuple[int, ...]
    downsample: tuple[bool, ...]
    sinusoidal_pos_emb: bool
    norm_layer: str
    dropout: float
    stochastic_dropout: float
    padding_index: int
    n_classes: int
    activation: str
    neg_slope: float
    ema_enable: bool
    flat: Mapping[str, Any]
    ignored: tuple[str, ...]
    source: str

    @property
    def stride(self) -> int:
        """Bytes from one token to the next before any merge."""
        return self.conv_kernel_size // 2

    def resolved(self) -> dict[str, Any]:
        """CoreNet's option names to the values that count, JSON-able, lists one per layer."""
        category = next(category for category, task in CATEGORIES.items() if task == self.task)
        resolved: dict[str, Any] = {"dataset.category": category, f"model.{category}.name": "byteformer"}
        for option in MODEL_OPTIONS:
            value = getattr(self, option.field)
            resolved[option.key] = list(value) if isinstance(value, tuple) else value
        for option in OTHER_MODEL_OPTIONS:
            resolved[option.key] = self.flat.get(option.key, option.default)
        return resolved


def load_options(path: Path | str, overrides: Sequence[str] = ()) -> CoreNetOptions:
    """Reads CoreNet's options.

    Args:
        path: A CoreNet YAML; or the config.json that CoreNet's CorenetToHFPretrainedModel saved, or its folder.
        overrides: `KEY=VALUE`, each set over what the file says.

    Raises:
        OptionsError: The file cannot be read, or describes no ByteFormer that can be converted; every problem at once.
        UsageError: An override is not of the form KEY=VALUE.
    """
    path = Path(path)
    if path.is_dir():
        path = _config_in(path)
    file = _read_adapter_config(path) if path.suffix.lower() == ".json" else read_flat_yaml(path)
    return _build(file, source=path.name, overrides=read_overrides(overrides))


def options_from_mapping(flat: Mapping[str, Any], *, source: str, overrides: Sequence[str] = ()) -> CoreNetOptions:
    """The same from flat dotted keys; `source` is the name that errors and reports give them.

    Raises:
        OptionsError: They describe no ByteFormer that can be converted; every problem at once.
        UsageError: An override is not of the form KEY=VALUE.
    """
    return _build(FlatFile(dict(flat)), source=source, overrides=read_overrides(overrides))


def _config_in(folder: Path) -> Path:
    path = folder / "config.json"
    if path.is_file():
        return path
    raise OptionsError(
        "this folder holds no config.json, so it is not what CoreNet's Hugging Face adapter saves.",
        where=folder.name,
        hint="Give CoreNet's YAML file, or a folder with config.json and model.safetensors.",
    )


def _read_adapter_config(path: Path) -> FlatFile:
    file = read_flat_json(path)
    if file.values.get("model_type") == "byteformer":
        raise OptionsError("this belongs to a folder that is converted already.", where=path.name)
    if not any(key.startswith(BYTEFORMER) for key in file.values):
        raise OptionsError(
            f"this has no options of CoreNet's ByteFormer ({BYTEFORMER}*).",
            where=path.name,
            hint="CoreNet's CorenetToHFPretrainedModel writes all of CoreNet's options into its config.json.",
        )
    return file


def _build(file: FlatFile, *, source: str, overrides: Mapping[str, Any]) -> CoreNetOptions:
    flat = file.values | dict(overrides)
    task = _task(flat, source)
    reader = _Reader(flat, overrides)
    values = {option.field: reader.read(option) for option in MODEL_OPTIONS}
    for option in (*OTHER_MODEL_OPTIONS, *PREPROCESSING_OPTIONS):
        reader.read(option)
    problems = [*reader.problems, *_wrong_lengths(values, flat), *_contradictions(values)]
    if problems:
        raise OptionsError(_listed(problems), where=source)
    return CoreNetOptions(
        task=task,
        **_with_size(values),
        flat=flat,
        ignored=(*_unknown_keys(flat), *file.notes),
        source=source,
    )


class _Reader:
    """Reads options one by one and keeps every complaint, so that all can be told at once."""

    def __init__(self, flat: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        self.flat = flat
        self.overrides = overrides
        self.problems: list[str] = []

    def read(self, option: Option) -> Any:
        """The option's value or CoreNet's default; None, and one problem more, if CoreNet could not use it."""
        if option.key not in self.flat:
            return option.default
        try:
            return option.read(self.flat[option.key])
        except BadValue as bad:
            origin = " (from --override)" if option.key in self.overrides else ""
            self.problems.append(f"{option.key}{bad}{origin}")
            return None


def _task(flat: Mapping[str, Any], source: str) -> Task:
    """Which of CoreNet's two ByteFormers this builds; raises if it builds none."""
    category_option = TASK_OPTIONS[0]
    category = flat.get(category_option.key)
    try:
        category = category_option.default if category is None else category_option.read(category)
    except BadValue as bad:
        raise OptionsError(f"{category_option.key}{bad}", where=source) from bad
    key = f"model.{category}.name"
    name = flat.get(key)
    if name == "byteformer":
        return "audio" if CATEGORIES[category] == "audio" else "image"
    found = f"{key} is {shown(name)}" if key in flat else f"there is no {key}"
    others = [f"model.{other}.name" for other in CATEGORIES if flat.get(f"model.{other}.name") == "byteformer"]
    hint = f"{others[0]} is byteformer, but dataset.category is {category}." if others else None
    raise OptionsError(f"this describes no ByteFormer: {found}, and it must be byteformer.", where=source, hint=hint)


def _wrong_lengths(values: Mapping[str, Any], flat: Mapping[str, Any]) -> Iterator[str]:
    """Lists that do not have one value per layer; CoreNet repeats only a window_sizes of length 1."""
    mode = values["mode"]
    for field in PER_LAYER if mode else ():
        value, layers = values[field], SIZES[mode].num_layers
        if value is None or len(value) == layers or (field == "window_sizes" and len(value) == 1):
            continue
        origin = "has" if BYTEFORMER + field in flat else "is not given, and CoreNet's default has"
        yield f"{BYTEFORMER}{field} {origin} {len(value)} values; mode {mode} needs {layers}, one per layer."


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between options that are each fine."""
    dropout, drop_path = values["dropout"], values["stochastic_dropout"]
    if dropout and drop_path and _drops_paths(drop_path):
        yield (
            f"{BYTEFORMER}dropout is {dropout} and {BYTEFORMER}stochastic_dropout is {drop_path}; "
            "CoreNet takes one of the two, not both."
        )
    padding, rows = values["padding_index"], values["vocab_size"]
    if padding is not None and rows and not -1 <= padding < rows:
        yield (
            f"{BYTEFORMER}padding_index is {padding}; CoreNet pads files with it and then looks it up in a table of "
            f"{rows} rows, where only -1 to {rows - 1} work."
        )


def _drops_paths(stochastic_dropout: float) -> bool:
    """Whether any layer's rate is above 0; the last layer has the highest, rounded to 3 digits as numpy rounds.

    numpy scales, rounds and scales back, so that 0.0005 gives 0; Python's own round(0.0005, 3) gives 0.001.
    """
    return round(stochastic_dropout * 1000) > 0


def _with_size(values: Mapping[str, Any]) -> dict[str, Any]:
    size = SIZES[values["mode"]]
    windows = values["window_sizes"]
    per_layer = windows * size.num_layers if len(windows) == 1 else windows
    return dict(values) | size._asdict() | {"window_sizes": per_layer}


def _unknown_keys(flat: Mapping[str, Any]) -> Iterator[str]:
    candidates = [key for key in ALL_OPTIONS if key.startswith(BYTEFORMER)]
    unknown = [key for key in flat if key.startswith(BYTEFORMER) and key not in ALL_OPTIONS]
    for key in unknown[:_UNKNOWN_SHOWN]:
        yield f"{key:.100} is not an option of CoreNet, which ignores it{nearest(key, candidates)}."
    if len(unknown) > _UNKNOWN_SHOWN:
        more = len(unknown) - _UNKNOWN_SHOWN
        yield f"{more} more keys of {BYTEFORMER}* are no options of CoreNet, which ignores them."


def _listed(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} options cannot be used:" + "".join(f"\n  {problem}" for problem in problems)
