"""A folder's JSON files back to CoreNet's options: what comes out makes the same folder again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.corenet.options import CoreNetOptions, load_options, options_from_mapping
from byteformer_convert.corenet.published import PUBLISHED
from byteformer_convert.errors import FolderError
from byteformer_convert.mapping.config import SWITCHES, config_json
from byteformer_convert.mapping.labels import labels_for
from byteformer_convert.mapping.processor import processor_fields
from byteformer_convert.mapping.way_back import CONFIG_DEFAULTS, SWITCH_REASONS, corenet_options

MODELS = {
    "image": {"model.classification.name": "byteformer"},
    "audio": {"model.audio_classification.name": "byteformer", "dataset.category": "audio_classification"},
}


def folder_json(options: CoreNetOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """config.json and preprocessor_config.json, as a reader of the files gets them."""
    files = config_json(options, labels_for(options), "float32"), processor_fields(options)
    config, processor = json.loads(json.dumps(files))
    return config, processor


def there_and_back(options: CoreNetOptions) -> CoreNetOptions:
    flat = corenet_options(*folder_json(options), options.n_classes, where="folder")
    return options_from_mapping(flat, source="back.yaml")


def options_with(task: str = "image", **flat: Any) -> CoreNetOptions:
    """Options with these keys; two underscores stand for a dot."""
    given = {key.replace("__", "."): value for key, value in flat.items()}
    return options_from_mapping(MODELS[task] | given, source="there.yaml")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_yaml_makes_the_same_folder_on_the_way_back(name: str) -> None:
    options = load_options(PUBLISHED[name].config)
    assert folder_json(there_and_back(options)) == folder_json(options)


def test_every_one_of_corenets_yamls_makes_the_same_folder_on_the_way_back(shared: Path) -> None:
    paths = sorted((shared / "corenet_configs").rglob("*.yaml"))
    assert len(paths) == 45
    for path in paths:
        options = load_options(path)
        assert folder_json(there_and_back(options)) == folder_json(options), path.name


@pytest.mark.parametrize(
    ("task", "flat"),
    [
        ("image", {}),
        ("audio", {}),
        ("image", {"model__classification__byteformer__sinusoidal_pos_emb": True}),
        ("image", {"model__classification__byteformer__norm_layer": "layer_norm_fp32"}),
        ("image", {"model__classification__byteformer__stochastic_dropout": 0.25}),
        ("image", {"model__classification__byteformer__dropout": 0.25}),
        ("image", {"model__classification__byteformer__padding_index": 3}),
        ("image", {"model__classification__byteformer__mode": "small"}),
        ("image", {"model__classification__byteformer__window_sizes": [32, 64] * 6}),
        ("image", {"model__activation__name": "leaky_relu", "model__activation__neg_slope": 0.3}),
        ("image", {"image_augmentation__resize__enable": True, "image_augmentation__resize__size": [20, 30]}),
        ("image", {"image_augmentation__center_crop__enable": True, "image_augmentation__center_crop__size": [3, 5]}),
        *(
            (
                "image",
                {
                    "image_augmentation__resize__enable": True,
                    "image_augmentation__resize__interpolation": interpolation,
                },
            )
            for interpolation in ("nearest", "bilinear", "bicubic", "cubic", "lanczos", "box", "hamming")
        ),
        *(
            (
                "image",
                {
                    "image_augmentation__shuffle_bytes__enable": True,
                    "image_augmentation__shuffle_bytes__mode": mode,
                    "image_augmentation__shuffle_bytes__stride": 7,
                    "image_augmentation__shuffle_bytes__window_size": 9,
                },
            )
            for mode in ("stride", "window_shuffle")
        ),
        ("audio", {"audio_augmentation__set_fixed_length__length": 99}),
    ],
)
def test_every_option_that_shapes_the_folder_comes_back(task: str, flat: dict[str, Any]) -> None:
    options = options_with(task, **flat)
    back = there_and_back(options)
    config, processor = folder_json(options)
    again, processor_again = folder_json(back)
    assert again == config
    ignored = ("shuffle_stride", "shuffle_window_size")  # of the two, only the one that the mode reads comes back
    assert {k: v for k, v in processor_again.items() if k not in ignored} == {
        k: v for k, v in processor.items() if k not in ignored
    }


def test_the_step_of_a_shuffle_comes_back() -> None:
    shuffle = "image_augmentation__shuffle_bytes__"
    stride = options_with(**{shuffle + "enable": True, shuffle + "mode": "stride", shuffle + "stride": 7})
    window = options_with(**{shuffle + "enable": True, shuffle + "mode": "window_shuffle", shuffle + "window_size": 9})
    assert folder_json(there_and_back(stride))[1]["shuffle_stride"] == 7
    assert folder_json(there_and_back(window))[1]["shuffle_window_size"] == 9


def test_the_defaults_are_those_that_transformers_leaves_out() -> None:
    config = ByteFormerConfig().to_dict()
    assert {name: config[name] for name in CONFIG_DEFAULTS} == CONFIG_DEFAULTS
    saved = json.loads(ByteFormerConfig(hidden_act="relu").to_json_string(use_diff=True))
    flat = corenet_options(
        saved | {"architectures": ["ByteFormerForImageClassification"]}, None, 1000, where="fine-tuned"
    )
    assert options_from_mapping(flat, source="back.yaml").activation == "relu"


def test_without_a_processor_the_options_are_silent_on_bytes() -> None:
    config, _ = folder_json(options_with())
    flat = corenet_options(config, None, 1000, where="folder")
    assert not [key for key in flat if "augmentation" in key or "collate" in key]


def test_a_data_set_is_named_where_the_class_names_are_its_own() -> None:
    config, processor = folder_json(options_with(dataset__name="imagenet"))
    assert corenet_options(config, processor, 1000, where="folder")["dataset.name"] == "imagenet"
    config["id2label"]["3"] = "something else"
    assert "dataset.name" not in corenet_options(config, processor, 1000, where="folder")


def refused(
    config_changes: dict[str, Any], processor_changes: dict[str, Any] | None = None, task: str = "image"
) -> str:
    config, processor = folder_json(options_with(task))
    with pytest.raises(FolderError, match="CoreNet cannot express") as caught:
        corenet_options(config | config_changes, processor | (processor_changes or {}), 1000, where="folder")
    return caught.value.message


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_corrected_oddity_is_refused_by_name(switch: str) -> None:
    assert f"{switch} is on" in refused({switch: True})
    assert switch in SWITCH_REASONS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 256}, "hidden_size 256"),
        ({"intermediate_size": 512}, "intermediate_size 512"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"architectures": ["ByteFormerModel"]}, "architectures"),
        ({"id2label": {"0": "a"}}, "names 1 classes, and the classifier has 1000 rows"),
    ],
)
def test_what_corenet_has_no_option_for_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in refused(changes)


def test_bytes_that_corenet_cannot_make_are_refused() -> None:
    assert "sampling_rate is 8000" in refused({}, {"sampling_rate": 8000}, task="audio")
    assert "resample is 9" in refused({}, {"resample": 9})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    message = refused({"mask_padding": True, "hidden_size": 7})
    assert "mask_padding" in message
    assert "hidden_size 7" in message
