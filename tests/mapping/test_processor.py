"""preprocessor_config.json from CoreNet's options: defaults, every field, and what cannot be expressed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.bundled import feature_extraction_byteformer, image_processing_byteformer
from byteformer_convert.corenet.options import load_options, options_from_mapping
from byteformer_convert.errors import OptionsError
from byteformer_convert.mapping import processor
from byteformer_convert.mapping.processor import processor_fields

IMAGE, AUDIO = "image_augmentation.", "audio_augmentation."
MODEL = {
    "image": {"model.classification.name": "byteformer"},
    "audio": {"model.audio_classification.name": "byteformer", "dataset.category": "audio_classification"},
}


def fields_for(task: str, **options: Any) -> dict[str, Any]:
    """Fields of a YAML with these options; two underscores stand for a dot."""
    flat = {key.replace("__", "."): value for key, value in options.items()}
    prefixed = {({"image": IMAGE, "audio": AUDIO}[task] + key): value for key, value in flat.items()}
    return processor_fields(options_from_mapping(MODEL[task] | prefixed, source="c.yaml"))


def test_an_image_yaml_without_keys_takes_file_bytes_only() -> None:
    assert fields_for("image") == {
        "auto_map": {"AutoImageProcessor": "image_processing_byteformer.ByteFormerImageProcessor"},
        "image_processor_type": "ByteFormerImageProcessor",
        "do_resize": False,
        "size": {"shortest_edge": 256},
        "resample": 3,
        "do_center_crop": False,
        "crop_size": {"height": 224, "width": 224},
        "file_encoding": None,
        "jpeg_quality": 100,
        "shuffle_mode": None,
        "shuffle_stride": 1024,
        "shuffle_window_size": 1024,
        "keep_fraction": None,
        "noise_range": None,
        "permute_bytes": False,
        "padding_value": -1,
    }


def test_an_audio_yaml_without_keys_takes_file_bytes_only() -> None:
    assert fields_for("audio") == {
        "auto_map": {"AutoFeatureExtractor": "feature_extraction_byteformer.ByteFormerFeatureExtractor"},
        "feature_extractor_type": "ByteFormerFeatureExtractor",
        "sampling_rate": 16000,
        "num_samples": 16000,
        "file_format": None,
        "encoding_dtype": "float32",
        "padding_value": -1,
    }


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"resize__enable": True}, {"do_resize": True, "size": {"shortest_edge": 256}, "resample": 2}),
        ({"resize__enable": True, "resize__size": [48]}, {"size": {"shortest_edge": 48}}),
        ({"resize__enable": True, "resize__size": [3, 5]}, {"size": {"height": 3, "width": 5}}),
        ({"resize__enable": True, "resize__interpolation": "cubic"}, {"resample": 3}),
        ({"resize__size": 99, "resize__interpolation": "none"}, {"do_resize": False, "size": {"shortest_edge": 256}}),
        ({"center_crop__enable": True}, {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}),
        ({"center_crop__enable": True, "center_crop__size": [3, 5]}, {"crop_size": {"height": 3, "width": 5}}),
        ({"pil_save__enable": True}, {"file_encoding": "TIFF", "jpeg_quality": 100}),
        ({"pil_save__enable": True, "pil_save__file_encoding": "JPEG", "pil_save__quality": 7}, {"jpeg_quality": 7}),
        ({"shuffle_bytes__enable": True}, {"shuffle_mode": "reverse"}),
        (
            {"shuffle_bytes__enable": True, "shuffle_bytes__mode": "stride", "shuffle_bytes__stride": 3},
            {"shuffle_mode": "stride", "shuffle_stride": 3, "shuffle_window_size": 1024},
        ),
        ({"mask_positions__enable": True}, {"keep_fraction": 0.5}),
        ({"mask_positions__keep_frac": 0.1}, {"keep_fraction": None}),
        ({"random_uniform__enable": True}, {"noise_range": [-5, 5]}),
        ({"byte_permutation__enable": True}, {"permute_bytes": True}),
        ({"to_tensor__dtype": "half"}, {}),
    ],
)
def test_image_options(options: dict[str, Any], fields: dict[str, Any]) -> None:
    assert fields_for("image", **options).items() >= fields.items()


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"torchaudio_save__enable": True}, {"file_format": "wav", "encoding_dtype": "float32"}),
        ({"torchaudio_save__enable": True, "torchaudio_save__format": "mp3"}, {"file_format": "mp3"}),
        ({"torchaudio_save__enable": True, "torchaudio_save__encoding_dtype": "int16"}, {"encoding_dtype": "int16"}),
        ({"set_fixed_length__length": 8000}, {"num_samples": 8000}),
        ({"noise__enable": True, "roll__enable": True}, {}),
    ],
)
def test_audio_options(options: dict[str, Any], fields: dict[str, Any]) -> None:
    assert fields_for("audio", **options).items() >= fields.items()


def test_padding_is_what_corenet_pads_with() -> None:
    options = options_from_mapping(
        MODEL["image"] | {"model.classification.byteformer.padding_index": 256}, source="c.yaml"
    )
    assert processor_fields(options)["padding_value"] == 256


@pytest.mark.parametrize(
    ("task", "key", "value", "message"),
    [
        ("image", "resize__size", [1, 2, 3], "is [1, 2, 3]; CoreNet needs one or two whole numbers of at least 1."),
        ("image", "resize__size", 0, "is [0]; CoreNet needs one or two"),
        ("image", "resize__interpolation", "bicubik", "is 'bicubik'; the converted folder knows nearest, lanczos"),
        ("image", "center_crop__size", [], "is []; CoreNet needs one or two"),
        (
            "image",
            "pil_save__file_encoding",
            "GIF",
            "is 'GIF'; the converted folder knows fCHW, fHWC, TIFF, PNG, JPEG.",
        ),
        ("image", "shuffle_bytes__mode", "sort", "is 'sort'; the converted folder knows reverse"),
        ("image", "shuffle_bytes__stride", 0, "is 0; it must be at least 1."),
        ("image", "shuffle_bytes__window_size", -1, "is -1; it must be at least 1."),
        ("image", "mask_positions__keep_frac", 0.0, "is 0.0; it must be above 0 and at most 1."),
        ("image", "mask_positions__keep_frac", 1.5, "is 1.5; it must be above 0 and at most 1."),
        ("image", "random_uniform__width_range", [5, -5], "is [5, -5]; CoreNet needs two whole numbers"),
        ("image", "random_uniform__width_range", [5], "is [5]; CoreNet needs two whole numbers"),
        ("image", "to_tensor__dtype", "uint8", "is 'uint8'; CoreNet then encodes no image"),
        ("image", "to_tensor__mean_std_normalization__enable", True, "is true; the converted folder encodes pixels"),
        ("audio", "torchaudio_save__format", "flac", "is 'flac'; the converted folder knows wav, mp3."),
        ("audio", "torchaudio_save__encoding_dtype", "int24", "is 'int24'; the converted folder knows float32"),
        ("audio", "torchaudio_save__backend", "ffmpeg", "is 'ffmpeg'; the converted folder knows sox."),
        ("audio", "set_fixed_length__length", 0, "is 0; it must be at least 1."),
    ],
)
def test_what_cannot_be_expressed_is_an_error_with_the_key(task: str, key: str, value: Any, message: str) -> None:
    step = key.split("__")[0]
    with pytest.raises(OptionsError) as caught:
        fields_for(task, **{f"{step}__enable": True, key: value})
    dotted = {"image": IMAGE, "audio": AUDIO}[task] + key.replace("__", ".")
    assert f"c.yaml: {dotted} {message}" in str(caught.value)
    assert "--override" in str(caught.value)


def test_a_collate_function_of_ones_own_is_an_error() -> None:
    flat = MODEL["image"] | {"dataset.collate_fn_name_val": "my_collate_fn"}
    with pytest.raises(OptionsError, match=r"dataset.collate_fn_name_val is 'my_collate_fn'"):
        processor_fields(options_from_mapping(flat, source="c.yaml"))


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(OptionsError) as caught:
        fields_for(
            "image",
            pil_save__enable=True,
            pil_save__file_encoding="GIF",
            resize__enable=True,
            resize__interpolation="bicubik",
        )
    assert "pil_save.file_encoding" in str(caught.value)
    assert "resize.interpolation" in str(caught.value)


def test_both_sides_know_the_same_names() -> None:
    assert set(processor.FILE_ENCODINGS) == set(image_processing_byteformer.FILE_ENCODINGS)
    assert set(processor.SHUFFLE_MODES) == set(image_processing_byteformer.SHUFFLE_MODES)
    assert set(processor.AUDIO_FORMATS) == set(feature_extraction_byteformer.FILE_FORMATS)
    assert set(processor.ENCODING_DTYPES) == set(feature_extraction_byteformer.ENCODING_DTYPES)


def test_all_published_yamls_and_an_adapters_config_can_be_expressed(shared: Path) -> None:
    paths = [*(shared / "corenet_configs").rglob("*.yaml"), shared / "trained" / "adapter_config.json"]
    assert len(paths) == 46
    for path in paths:
        fields = processor_fields(load_options(path))
        assert json.loads(json.dumps(fields)) == fields


def test_it_needs_neither_torch_nor_transformers() -> None:
    code = "import sys, byteformer_convert.mapping.processor; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
