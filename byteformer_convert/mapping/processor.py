"""CoreNetOptions -> preprocessor_config.json: how a file becomes ids when CoreNet evaluates.

Only what CoreNet does at evaluation counts: `_validation_transforms` of its data sets, then the collate function.
A step whose `enable` is false is not looked at. What the bundled processors cannot do is an error, not a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from byteformer_convert.corenet.option_table import ALL_OPTIONS, shown
from byteformer_convert.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from byteformer_convert.corenet.options import CoreNetOptions

IMAGE: Final = "image_augmentation."
AUDIO: Final = "audio_augmentation."

# CoreNet's names of the resampling filters -> the numbers of PIL.Image.Resampling
RESAMPLE: Final = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "cubic": 3, "box": 4, "hamming": 5}
FILE_ENCODINGS: Final = ("fCHW", "fHWC", "TIFF", "PNG", "JPEG")
SHUFFLE_MODES: Final = ("reverse", "random_shuffle", "cyclic_half_length", "stride", "window_shuffle")
AUDIO_FORMATS: Final = ("wav", "mp3")
ENCODING_DTYPES: Final = ("float32", "int32", "int16", "uint8")

# CoreNet takes the rate from the file and never resamples; Speech Commands, the only data set that its ByteFormers
# know, is 16 kHz throughout.
SAMPLING_RATE: Final = 16_000

# The first does what the options say. CoreNet's default does none of it, so that nothing could be evaluated with it:
# a YAML that keeps the default means a model that is fed by other code.
COLLATE_FUNCTIONS: Final = {
    "image": ("byteformer_image_collate_fn", "pytorch_default_collate_fn"),
    "audio": ("byteformer_audio_collate_fn", "pytorch_default_collate_fn"),
}
COLLATE_KEYS: Final = ("dataset.collate_fn_name_val", "dataset.collate_fn_name_test")


def processor_fields(options: CoreNetOptions) -> dict[str, Any]:
    """The content of preprocessor_config.json, auto_map included, JSON-able.

    Raises:
        OptionsError: The options ask for something that the bundled processors cannot do; every problem at once.
    """
    reader = _Reader(options)
    fields = _image_fields(reader) if options.task == "image" else _audio_fields(reader)
    for key in COLLATE_KEYS:
        if options.flat.get(key) is not None:
            reader.check(key, options.flat[key], COLLATE_FUNCTIONS[options.task])
    reader.finish()
    return fields | {"padding_value": options.padding_index}


class _Reader:
    """Reads options by key, with CoreNet's defaults, and keeps every complaint."""

    def __init__(self, options: CoreNetOptions) -> None:
        self.options = options
        self.problems: list[str] = []

    def value(self, key: str) -> Any:
        option = ALL_OPTIONS[key]
        return option.read(self.options.flat[key]) if key in self.options.flat else option.default

    def choice(self, key: str, known: Collection[str]) -> Any:
        """One of these names."""
        value = self.value(key)
        self.check(key, value, known)
        return value

    def at_least(self, key: str, minimum: float) -> Any:
        """A number no smaller than this."""
        value = self.value(key)
        if value < minimum:
            self.problems.append(f"{key} is {shown(value)}; it must be at least {minimum}.")
        return value

    def check(self, key: str, value: Any, known: Collection[str]) -> None:
        if value not in known:
            self.problems.append(f"{key} is {shown(value)}; the converted folder knows {', '.join(known)}.")

    def finish(self) -> None:
        if self.problems:
            raise OptionsError(
                self.problems[0] if len(self.problems) == 1 else "\n  ".join(["several problems:", *self.problems]),
                where=self.options.source,
                hint="Set a key with --override KEY=VALUE if the model was evaluated otherwise.",
            )


def _image_fields(reader: _Reader) -> dict[str, Any]:
    _refuse_changed_pixels(reader)
    return {
        "auto_map": {"AutoImageProcessor": "image_processing_byteformer.ByteFormerImageProcessor"},
        "image_processor_type": "ByteFormerImageProcessor",
        **_resize_fields(reader),
        **_crop_fields(reader),
        **_encoding_fields(reader),
        **_shuffle_fields(reader),
        "keep_fraction": _keep_fraction(reader),
        "noise_range": _noise_range(reader),
        "permute_bytes": reader.value(IMAGE + "byte_permutation.enable"),
    }


def _refuse_changed_pixels(reader: _Reader) -> None:
    """CoreNet's ToTensor may scale pixels before they are encoded; only its plain form gives them back unchanged.

    Half precision does: v / 255 * 255, cut to a byte, is v for all 256 values there, too.
    """
    key = IMAGE + "to_tensor.dtype"
    if reader.options.flat.get(key, "float") == "uint8":
        reader.problems.append(f"{key} is 'uint8'; CoreNet then encodes no image, it expects pixels from 0 to 1.")
    key = IMAGE + "to_tensor.mean_std_normalization.enable"
    if reader.options.flat.get(key):
        reader.problems.append(f"{key} is true; the converted folder encodes pixels as they are.")


def _resize_fields(reader: _Reader) -> dict[str, Any]:
    key = IMAGE + "resize.size"
    enabled = reader.value(IMAGE + "resize.enable")
    size = _height_width(reader, key) if enabled else (256,)
    named = {"shortest_edge": size[0]} if len(size) == 1 else dict(zip(("height", "width"), size, strict=True))
    interpolation = reader.choice(IMAGE + "resize.interpolation", RESAMPLE) if enabled else "bicubic"
    return {"do_resize": enabled, "size": named, "resample": RESAMPLE.get(interpolation)}


def _crop_fields(reader: _Reader) -> dict[str, Any]:
    enabled = reader.value(IMAGE + "center_crop.enable")
    size = _height_width(reader, IMAGE + "center_crop.size") if enabled else (224,)
    return {"do_center_crop": enabled, "crop_size": {"height": size[0], "width": size[-1]}}


def _height_width(reader: _Reader, key: str) -> tuple[int, ...]:
    """One whole number, or height and width."""
    size = reader.value(key)
    size = size if isinstance(size, tuple) else (size,)
    if len(size) not in (1, 2) or min(size) < 1:
        reader.problems.append(f"{key} is {shown(size)}; CoreNet needs one or two whole numbers of at least 1.")
        return (1,)
    return size


def _encoding_fields(reader: _Reader) -> dict[str, Any]:
    enabled = reader.value(IMAGE + "pil_save.enable")
    return {
        "file_encoding": reader.choice(IMAGE + "pil_save.file_encoding", FILE_ENCODINGS) if enabled else None,
        "jpeg_quality": reader.value(IMAGE + "pil_save.quality") if enabled else 100,
    }


def _shuffle_fields(reader: _Reader) -> dict[str, Any]:
    enabled = reader.value(IMAGE + "shuffle_bytes.enable")
    return {
        "shuffle_mode": reader.choice(IMAGE + "shuffle_bytes.mode", SHUFFLE_MODES) if enabled else None,
        "shuffle_stride": reader.at_least(IMAGE + "shuffle_bytes.stride", 1) if enabled else 1024,
        "shuffle_window_size": reader.at_least(IMAGE + "shuffle_bytes.window_size", 1) if enabled else 1024,
    }


def _keep_fraction(reader: _Reader) -> float | None:
    if not reader.value(IMAGE + "mask_positions.enable"):
        return None
    key = IMAGE + "mask_positions.keep_frac"
    fraction = float(reader.value(key))
    if not 0 < fraction <= 1:
        reader.problems.append(f"{key} is {shown(fraction)}; it must be above 0 and at most 1.")
    return fraction


def _noise_range(reader: _Reader) -> list[int] | None:
    if not reader.value(IMAGE + "random_uniform.enable"):
        return None
    key = IMAGE + "random_uniform.width_range"
    width_range = reader.value(key)
    if len(width_range) != 2 or width_range[0] > width_range[1]:
        reader.problems.append(f"{key} is {shown(width_range)}; CoreNet needs two whole numbers, the lower one first.")
    return list(width_range)


def _audio_fields(reader: _Reader) -> dict[str, Any]:
    # CoreNet fixes the length at evaluation whatever set_fixed_length.enable says.
    save = AUDIO + "torchaudio_save."
    enabled = reader.value(save + "enable")
    if enabled:
        reader.choice(save + "backend", ("sox",))
    return {
        "auto_map": {"AutoFeatureExtractor": "feature_extraction_byteformer.ByteFormerFeatureExtractor"},
        "feature_extractor_type": "ByteFormerFeatureExtractor",
        "sampling_rate": SAMPLING_RATE,
        "num_samples": reader.at_least(AUDIO + "set_fixed_length.length", 1),
        "file_format": reader.choice(save + "format", AUDIO_FORMATS) if enabled else None,
        "encoding_dtype": reader.choice(save + "encoding_dtype", ENCODING_DTYPES) if enabled else "float32",
    }
