"""CoreNet's options as data: one row an option, with its kind, CoreNet's default and the values that work there.

Read from apple/corenet v0.1.1: CoreNet registers every option with argparse and then sets the YAML's value over the
default *unchecked*, so a wrong type fails somewhere deep in torch, or silently means something else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

BYTEFORMER: Final = "model.classification.byteformer."


# CoreNet has no such limits, but a machine has: a folder names each class, and a layer works on whole windows.
LARGEST: Final = 2**31 - 1
LARGEST_NUMBER: Final = sys.float_info.max
MOST_CLASSES: Final = 1_000_000
LARGEST_WINDOW: Final = 16_384


class Size(NamedTuple):
    """What a `mode` stands for."""

    embed_dim: int
    num_layers: int
    num_heads: int
    ffn_dim: int


SIZES: Final[Mapping[str, Size]] = MappingProxyType(
    {
        "tiny": Size(192, 12, 3, 768),
        "small": Size(384, 12, 6, 1536),
        "base": Size(768, 12, 12, 3072),
        "huge": Size(1280, 32, 20, 5120),
    }
)

ACTIVATIONS: Final = (
    "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "prelu", "relu", "relu6", "sigmoid", "swish", "tanh",
)  # fmt: skip
NORM_LAYERS: Final = ("layer_norm", "layer_norm_fp32")
CATEGORIES: Final[Mapping[str, str]] = MappingProxyType({"classification": "image", "audio_classification": "audio"})


class BadValue(ValueError):
    """A value that an option cannot take; the text continues a sentence that begins with the option's key."""


class Rule(NamedTuple):
    """What holds for every value that works in CoreNet, and the sentence for one that does not."""

    holds: Callable[[Any], bool]
    sentence: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option of CoreNet.

    Args:
        key: Its dotted name in a flattened YAML.
        kind: What values it takes, a key of `KINDS`.
        default: CoreNet's default, which a YAML that leaves the key out means.
        rule: What else must hold; for a list, for each element.
        field: The field of CoreNetOptions that holds it, if one does.
    """

    key: str
    kind: str
    default: Any
    rule: Rule | None = None
    field: str = ""

    def read(self, value: Any) -> Any:
        """The value in one form: names in lower case, lists as tuples, truth as bool.

        Raises:
            BadValue: CoreNet could not work with it, or it would mean something else there than it says.
        """
        if value is None and self.default is None:
            return None
        element = KINDS[self.kind].element
        if element is None:
            return self._read_one(self.kind, value, "")
        if not isinstance(value, (list, tuple)):
            raise BadValue(f" is {shown(value)}; CoreNet needs {KINDS[self.kind].noun}{_list_advice(value)}.")
        return tuple(self._read_one(element, item, f"[{index}]") for index, item in enumerate(value))

    def _read_one(self, kind: str, value: Any, place: str) -> Any:
        try:
            read = KINDS[kind].convert(value)
        except BadValue as bad:
            advice = f" Leave the key out for CoreNet's default, {shown(self.default)}." if value is None else str(bad)
            sentence = f"CoreNet needs {KINDS[kind].noun}.{advice}"
        else:
            if self.rule is None or self.rule.holds(read):
                return read
            sentence = self.rule.sentence
        raise BadValue(f"{place} is {shown(value)}; {sentence}")


class Kind(NamedTuple):
    """How the values of an option look.

    `convert` brings one value into its one form or raises BadValue with a piece of advice; `element` is the kind of a
    list's elements.
    """

    noun: str
    convert: Callable[[Any], Any]
    element: str | None = None


def shown(value: Any) -> str:
    """A value as its YAML says it, cut short, with its type where the value alone would mislead."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if not isinstance(value, tuple) else repr(list(value))
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if isinstance(value, (int, float, str, list, tuple)) else f"{text} ({type(value).__name__})"


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST:
            raise BadValue(f" The largest that can be converted is {LARGEST}.")
        return value
    if isinstance(value, float) and value.is_integer():
        raise BadValue(
            f" Write {int(value)}: CoreNet hands the value to torch as it is, and torch takes no float here."
        )
    raise BadValue(_text_advice(value))


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) > LARGEST_NUMBER or math.isnan(value):
            raise BadValue("")
        return float(value)
    raise BadValue(_text_advice(value))


def _truth(value: Any) -> bool:
    # CoreNet tests these by truthiness, so 0 and 1 mean what they say, but any text at all means true.
    if isinstance(value, int):
        return bool(value)
    raise BadValue(" CoreNet takes any text for true, so write it without quotes." if isinstance(value, str) else "")


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise BadValue("")


def _name(value: Any) -> str:
    return _word(value).lower()


def _size(value: Any) -> int | tuple[int, ...]:
    return tuple(_whole(item) for item in value) if isinstance(value, (list, tuple)) else _whole(value)


def _text_advice(value: Any) -> str:
    """Why something that looks like a number is text."""
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " This is text: YAML reads a number without quotes, and an exponent only as in 1.0e-5."


def _list_advice(value: Any) -> str:
    return f", as in [{value}]" if isinstance(value, (int, float)) else ""


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "whole": Kind("a whole number", _whole),
        "number": Kind("a finite number", _number),
        "truth": Kind("true or false", _truth),
        "word": Kind("a word", _word),
        "name": Kind("a name", _name),
        "size": Kind("a whole number, or a list of them", _size),
        "wholes": Kind("a list of whole numbers", _whole, element="whole"),
        "truths": Kind("a list of true and false", _truth, element="truth"),
    }
)


def _at_least(minimum: int) -> Rule:
    return Rule(lambda value: bool(value >= minimum), f"CoreNet needs at least {minimum}.")


def _between(minimum: int, maximum: int) -> Rule:
    return Rule(lambda value: minimum <= value <= maximum, f"it must be at least {minimum} and at most {maximum}.")


def _one_of(names: Mapping[str, Any] | tuple[str, ...]) -> Rule:
    return Rule(lambda value: value in names, f"CoreNet knows {', '.join(names)}.")


_PROBABILITY: Final = Rule(lambda value: 0 <= value < 1, "it must be at least 0 and less than 1.")
_KERNEL: Final = Rule(
    lambda value: value >= 2,
    "CoreNet needs at least 2: the stride of its byte convolution is half the kernel, and 0, 1 and null fail there.",
)
_VOCABULARY: Final = Rule(
    lambda value: value >= 2, "CoreNet needs at least 2, one row for a byte value and one for padding."
)
_NORM: Final = Rule(
    lambda value: value in NORM_LAYERS,
    "CoreNet has other norms, but the converted model can only express layer_norm and layer_norm_fp32.",
)
_CATEGORY: Final = Rule(
    lambda value: value in CATEGORIES,
    "CoreNet has a ByteFormer for classification (images) and audio_classification only.",
)
_NO_LORA: Final = Rule(
    lambda value: not value,
    "CoreNet then adds LoRA layers, which the converted model cannot express. Merge them into the weights first.",
)


def _byteformer(field: str, kind: str, default: Any, rule: Rule | None = None) -> Option:
    return Option(BYTEFORMER + field, kind, default, rule, field)


TASK_OPTIONS: Final = (
    Option("dataset.category", "word", "classification", _CATEGORY),
    Option("model.classification.name", "word", None),
    Option("model.audio_classification.name", "word", None),
)
"""Read first: they say whether there is a ByteFormer at all. CoreNet's own default category is null, with which it
builds nothing; `classification` is what every ByteFormer YAML without a category means."""

MODEL_OPTIONS: Final = (
    _byteformer("mode", "name", "tiny", _one_of(SIZES)),
    _byteformer("vocab_size", "whole", 257, _VOCABULARY),
    _byteformer("max_num_tokens", "whole", 10000, _at_least(1)),
    _byteformer("conv_kernel_size", "whole", 16, _KERNEL),
    _byteformer("window_sizes", "wholes", (128,), _between(1, LARGEST_WINDOW)),
    _byteformer("window_shifts", "wholes", (0, 64) * 6),
    _byteformer("downsample", "truths", (True, True, *(False, True) * 4, False, False)),
    _byteformer("sinusoidal_pos_emb", "truth", False),
    _byteformer("norm_layer", "name", "layer_norm", _NORM),
    _byteformer("dropout", "number", 0.0, _PROBABILITY),
    _byteformer("stochastic_dropout", "number", 0.0, _PROBABILITY),
    _byteformer("padding_index", "whole", -1),
    Option("model.classification.n_classes", "whole", 1000, _between(1, MOST_CLASSES), field="n_classes"),
    Option("model.activation.name", "name", "relu", _one_of(ACTIVATIONS), field="activation"),
    Option("model.activation.neg_slope", "number", 0.1, field="neg_slope"),
    Option("ema.enable", "truth", False, field="ema_enable"),
)

OTHER_MODEL_OPTIONS: Final = (
    Option(BYTEFORMER + "dummy_input_token_length", "whole", 48564),
    Option(BYTEFORMER + "use_pytorch_mha", "truth", False),
    Option("model.lora.use_lora", "truth", False, _NO_LORA),
)
"""Profiling only, never read, and not expressible."""

PREPROCESSING_OPTIONS: Final = (
    Option("dataset.name", "word", None),
    Option("image_augmentation.resize.enable", "truth", False),
    Option("image_augmentation.resize.size", "size", 256),
    Option("image_augmentation.resize.interpolation", "word", "bilinear"),
    Option("image_augmentation.center_crop.enable", "truth", False),
    Option("image_augmentation.center_crop.size", "size", 224),
    Option("image_augmentation.pil_save.enable", "truth", False),
    Option("image_augmentation.pil_save.file_encoding", "word", "TIFF"),
    Option("image_augmentation.pil_save.quality", "whole", 100),
    Option("image_augmentation.shuffle_bytes.enable", "truth", False),
    Option("image_augmentation.shuffle_bytes.mode", "word", "reverse"),
    Option("image_augmentation.shuffle_bytes.stride", "whole", 1024),
    Option("image_augmentation.shuffle_bytes.window_size", "whole", 1024),
    Option("image_augmentation.mask_positions.enable", "truth", False),
    Option("image_augmentation.mask_positions.keep_frac", "number", 0.5),
    Option("image_augmentation.random_uniform.enable", "truth", False),
    Option("image_augmentation.random_uniform.width_range", "wholes", (-5, 5)),
    Option("image_augmentation.byte_permutation.enable", "truth", False),
    Option("audio_augmentation.set_fixed_length.length", "whole", 16000),
    Option("audio_augmentation.torchaudio_save.enable", "truth", False),
    Option("audio_augmentation.torchaudio_save.encoding_dtype", "word", "float32"),
    Option("audio_augmentation.torchaudio_save.format", "word", "wav"),
    Option("audio_augmentation.torchaudio_save.backend", "word", "sox"),
)
"""What makes the ids from a file. Only the kind is looked at here; mapping/processor.py knows what it can express."""

ALL_OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {option.key: option for option in (*TASK_OPTIONS, *MODEL_OPTIONS, *OTHER_MODEL_OPTIONS, *PREPROCESSING_OPTIONS)}
)
