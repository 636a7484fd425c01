"""CoreNet's options: what a YAML means, what it cannot mean, and what the error says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.corenet.option_table import PREPROCESSING_OPTIONS
from byteformer_convert.corenet.options import CoreNetOptions, load_options, options_from_mapping
from byteformer_convert.errors import OptionsError, UsageError

ROOT = Path(__file__).parents[2]
B = "model.classification.byteformer."
NAME = {"model.classification.name": "byteformer"}

PUBLISHED = {
    "imagenet_tiff": "imagenet_file_encodings/encoding_type=TIFF",
    "imagenet_jpeg_q100_k8_w128": "imagenet_jpeg_q100/conv_kernel_size=8",
    "imagenet_jpeg_q60_k4_w128": "imagenet_jpeg_q60/conv_kernel_size=4,window_sizes=[128]",
    "imagenet_shuffle_bytes_reverse": "imagenet_jpeg_shuffle_bytes/mode=reverse",
    "imagenet_obfuscation": "imagenet_obfuscation/width_range=[-20,20]",
    "imagenet_privacy_preserving_camera_k4_f0.05": (
        "imagenet_privacy_preserving_camera/keep_frac=0.05,conv_kernel_size=4"
    ),
    "speech_commands_wav": "speech_commands_wav/encoding_dtype=float32,conv_kernel_size=32",
    "speech_commands_mp3_k4_w32": "speech_commands_mp3/conv_kernel_size=4,window_size=[32]",
}


def options(*overrides: str, **byteformer: Any) -> CoreNetOptions:
    flat = NAME | {B + key: value for key, value in byteformer.items()}
    return options_from_mapping(flat, source="x.yaml", overrides=overrides)


def problem(flat: dict[str, Any]) -> str:
    """The whole text of the error that these options give."""
    with pytest.raises(OptionsError) as caught:
        options_from_mapping(NAME | flat, source="x.yaml")
    assert caught.value.where == "x.yaml"
    assert caught.value.exit_code == 3
    return str(caught.value)


def write(tmp_path: Path, text: str | bytes, name: str = "x.yaml") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def file_problem(tmp_path: Path, text: str | bytes, name: str = "x.yaml") -> str:
    with pytest.raises(OptionsError) as caught:
        load_options(write(tmp_path, text, name))
    return str(caught.value)


YAML = "model:\n  classification:\n    name: byteformer\n    byteformer:\n      mode: small\n"


# What the options mean


def test_a_yaml_with_a_name_alone_means_corenets_code_defaults() -> None:
    found = options()
    assert (found.task, found.mode, found.embed_dim, found.num_layers) == ("image", "tiny", 192, 12)
    assert (found.num_heads, found.ffn_dim) == (3, 768)
    assert (found.vocab_size, found.max_num_tokens, found.conv_kernel_size, found.stride) == (257, 10000, 16, 8)
    assert found.window_sizes == (128,) * 12
    assert found.window_shifts == (0, 64) * 6
    assert [i for i, merges in enumerate(found.downsample) if merges] == [0, 1, 3, 5, 7, 9]
    assert len(found.downsample) == 12
    assert (found.sinusoidal_pos_emb, found.norm_layer, found.padding_index) == (False, "layer_norm", -1)
    assert (found.dropout, found.stochastic_dropout) == (0.0, 0.0)
    assert (found.n_classes, found.activation, found.neg_slope, found.ema_enable) == (1000, "relu", 0.1, False)


def test_the_defaults_are_those_that_corenet_itself_wrote_into_the_adapters_config(shared: Path) -> None:
    saved = json.loads((shared / "trained/adapter_config.json").read_text())
    set_by_its_yaml = {B + "max_num_tokens", B + "conv_kernel_size", B + "window_sizes", B + "window_shifts"}
    set_by_its_yaml |= {"model.classification.n_classes", "model.activation.name", "dataset.name"}
    set_by_its_yaml |= {"image_augmentation.pil_save.enable", "image_augmentation.pil_save.file_encoding"}
    ours = options().resolved() | {option.key: option.default for option in PREPROCESSING_OPTIONS}
    compared = [key for key in ours if key not in set_by_its_yaml and key in saved]
    assert len(compared) > 30
    for key in compared:
        default = list(ours[key]) if isinstance(ours[key], tuple) else ours[key]
        assert saved[key] == default, key


@pytest.mark.parametrize(
    ("mode", "size"),
    [("tiny", (192, 12, 3, 768)), ("small", (384, 12, 6, 1536)), ("base", (768, 12, 12, 3072))],
)
def test_a_mode_stands_for_a_size(mode: str, size: tuple[int, ...]) -> None:
    found = options(mode=mode)
    assert (found.embed_dim, found.num_layers, found.num_heads, found.ffn_dim) == size


def test_huge_works_with_its_own_lists() -> None:
    found = options(mode="huge", window_shifts=[0, 64] * 16, downsample=[True] + [False] * 31)
    assert (found.embed_dim, found.num_layers, found.num_heads, found.ffn_dim) == (1280, 32, 20, 5120)
    assert found.window_sizes == (128,) * 32


def test_names_are_case_insensitive_where_corenet_lowers_them() -> None:
    found = options_from_mapping(
        NAME | {B + "mode": "Tiny", B + "norm_layer": "LAYER_NORM_FP32", "model.activation.name": "GELU"}, source="x"
    )
    assert (found.mode, found.norm_layer, found.activation) == ("tiny", "layer_norm_fp32", "gelu")


def test_one_window_size_counts_for_all_layers_and_the_default_shift_stays_64() -> None:
    found = options(window_sizes=[32])
    assert found.window_sizes == (32,) * 12
    assert found.window_shifts == (0, 64) * 6


def test_negative_shifts_stay_as_they_are() -> None:
    assert options(window_shifts=[-3] * 12).window_shifts == (-3,) * 12


def test_downsample_counts_by_truth() -> None:
    assert options(downsample=[1, 0, True, False] * 3).downsample == (True, False) * 6


def test_whole_numbers_are_good_enough_for_dropout() -> None:
    assert options(dropout=0).dropout == 0.0


def test_dropout_with_a_drop_path_rate_that_rounds_to_zero_is_fine() -> None:
    assert options(dropout=0.1, stochastic_dropout=0.0005).stochastic_dropout == 0.0005


def test_a_yaml_is_flattened_and_dotted_keys_stay(tmp_path: Path) -> None:
    text = YAML + "model.activation.name: gelu\nimage_augmentation:\n  pil_save: {enable: yes, quality: 60}\n"
    found = load_options(write(tmp_path, text))
    assert (found.mode, found.activation, found.source) == ("small", "gelu", "x.yaml")
    assert found.flat["image_augmentation.pil_save.quality"] == 60
    assert found.ignored == ()


def test_of_equal_flat_keys_the_last_counts(tmp_path: Path) -> None:
    assert load_options(write(tmp_path, YAML + f"{B}mode: base\n")).mode == "base"
    assert load_options(write(tmp_path, f"{B}mode: base\n" + YAML)).mode == "small"


def test_a_repeated_key_takes_the_last_and_says_so(tmp_path: Path) -> None:
    found = load_options(write(tmp_path, YAML + "      mode: base\n"))
    assert found.mode == "base"
    assert found.ignored == (f"{B}mode stands in lines 5 and 6; CoreNet takes the last, and so did this.",)


def test_anchors_and_merge_keys_work_and_are_no_repetition(tmp_path: Path) -> None:
    text = (
        "_anchor_common: &common {mode: base, conv_kernel_size: 4}\n"
        "model:\n  classification:\n    name: byteformer\n    byteformer:\n      <<: *common\n      mode: small\n"
    )
    found = load_options(write(tmp_path, text))
    assert (found.mode, found.conv_kernel_size, found.ignored) == ("small", 4, ())


def test_two_merge_keys_in_one_mapping_both_count(tmp_path: Path) -> None:
    text = (
        "_anchor_a: &a {mode: base}\n_anchor_b: &b {conv_kernel_size: 4}\nmodel.classification:\n  name: byteformer\n"
    )
    found = load_options(write(tmp_path, text + "  byteformer:\n    <<: *a\n    <<: *b\n"))
    assert (found.mode, found.conv_kernel_size, found.ignored) == ("base", 4, ())


def test_a_typo_beside_byteformers_options_is_ignored_with_the_nearest_known_key() -> None:
    (sentence,) = options(window_size=[32]).ignored
    assert (
        sentence == f"{B}window_size is not an option of CoreNet, which ignores it; the nearest one is {B}window_sizes."
    )
    assert options(window_size=[32]).window_sizes == (128,) * 12


def test_dashes_in_a_yaml_are_a_typo_too() -> None:
    assert f"the nearest one is {B}window_sizes" in options(**{"window-sizes": [32]}).ignored[0]


def test_other_unknown_keys_tasks_includes_and_anchors_do_not_matter() -> None:
    flat = NAME | {"tasks": [1], "include_configs": "a", "_anchor_x": 1, "optim.adamw.beta9": 3, "local_x": 1}
    assert options_from_mapping(flat, source="x").ignored == ()


def test_audio_takes_its_name_from_its_own_key_and_the_rest_from_classification() -> None:
    flat = {"dataset.category": "audio_classification", "model.audio_classification.name": "byteformer"}
    found = options_from_mapping(flat | {"model.classification.n_classes": 12}, source="x")
    assert (found.task, found.n_classes) == ("audio", 12)
    assert found.resolved()["model.audio_classification.name"] == "byteformer"


def test_resolved_is_json_and_rebuilds_the_same_options() -> None:
    found = options(window_sizes=[16], downsample=[1] * 12, dropout=0)
    resolved = json.loads(json.dumps(found.resolved()))
    assert options_from_mapping(resolved, source="x").resolved() == resolved
    assert resolved[B + "window_sizes"] == [16] * 12


# What they cannot mean


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        ({B + "mode": "medium"}, ("mode is 'medium'", "tiny, small, base, huge")),
        ({B + "mode": None}, ("mode is null", "default, 'tiny'")),
        ({B + "mode": 3}, ("mode is 3", "a name")),
        ({B + "vocab_size": True}, ("vocab_size is true", "whole number")),
        ({B + "vocab_size": 1}, ("vocab_size is 1", "at least 2")),
        ({B + "max_num_tokens": 50000.0}, ("max_num_tokens is 50000.0", "Write 50000")),
        ({B + "max_num_tokens": "1e5"}, ("max_num_tokens is '1e5'", "This is text")),
        ({B + "max_num_tokens": 0}, ("max_num_tokens is 0", "at least 1")),
        ({B + "conv_kernel_size": 0}, ("conv_kernel_size is 0", "at least 2", "stride")),
        ({B + "conv_kernel_size": 1}, ("conv_kernel_size is 1", "at least 2")),
        ({B + "conv_kernel_size": None}, ("conv_kernel_size is null", "default, 16")),
        ({B + "window_sizes": 128}, ("window_sizes is 128", "as in [128]")),
        ({B + "window_sizes": [128, "x"]}, ("window_sizes[1] is 'x'", "whole number")),
        ({B + "window_sizes": [0]}, ("window_sizes[0] is 0", "at least 1")),
        ({B + "window_sizes": []}, ("window_sizes has 0 values", "12")),
        ({B + "window_sizes": [32, 64]}, ("window_sizes has 2 values", "tiny needs 12")),
        ({B + "window_shifts": [0]}, ("window_shifts has 1 values", "12")),
        ({B + "window_shifts": [0.5] * 12}, ("window_shifts[0] is 0.5",)),
        ({B + "downsample": [True] * 11}, ("downsample has 11 values", "12")),
        ({B + "downsample": None}, ("downsample is null", "list")),
        ({B + "downsample": ["false"] * 12}, ("downsample[0] is 'false'", "any text for true")),
        ({B + "downsample": [1.0] * 12}, ("downsample[0] is 1.0", "true or false")),
        ({B + "sinusoidal_pos_emb": "no"}, ("sinusoidal_pos_emb is 'no'", "any text for true")),
        ({B + "norm_layer": "batch_norm"}, ("norm_layer is 'batch_norm'", "layer_norm and layer_norm_fp32")),
        ({B + "dropout": "1e-5"}, ("dropout is '1e-5'", "1.0e-5")),
        ({B + "dropout": 1.0}, ("dropout is 1.0", "less than 1")),
        ({B + "dropout": -0.1}, ("dropout is -0.1", "at least 0")),
        ({B + "dropout": float("nan")}, ("dropout is nan", "finite")),
        ({B + "dropout": False}, ("dropout is false", "finite number")),
        ({B + "stochastic_dropout": float("inf")}, ("stochastic_dropout is inf", "finite")),
        ({B + "dropout": 0.1, B + "stochastic_dropout": 0.0006}, ("dropout is 0.1", "0.0006", "not both")),
        ({B + "padding_index": "-1"}, ("padding_index is '-1'", "whole number")),
        ({B + "padding_index": -2}, ("padding_index is -2", "-1 to 256")),
        ({B + "padding_index": 257}, ("padding_index is 257", "-1 to 256")),
        ({B + "dummy_input_token_length": "a"}, ("dummy_input_token_length is 'a'",)),
        ({B + "use_pytorch_mha": "a"}, ("use_pytorch_mha is 'a'",)),
        ({"model.classification.n_classes": 0}, ("n_classes is 0", "at least 1")),
        ({"model.classification.n_classes": [10]}, ("n_classes is [10]", "whole number")),
        ({"model.activation.name": "silu"}, ("activation.name is 'silu'", "gelu", "swish")),
        ({"model.activation.neg_slope": "0.1"}, ("neg_slope is '0.1'", "number")),
        ({"ema.enable": "true"}, ("ema.enable is 'true'", "without quotes")),
        ({"model.lora.use_lora": True}, ("model.lora.use_lora is true", "cannot express")),
        ({"image_augmentation.pil_save.quality": "60"}, ("pil_save.quality is '60'",)),
        ({"image_augmentation.mask_positions.keep_frac": float("nan")}, ("keep_frac is nan",)),
        ({"image_augmentation.resize.size": "256"}, ("resize.size is '256'",)),
        ({"dataset.category": "segmentation"}, ("dataset.category is 'segmentation'", "audio_classification")),
        ({"dataset.category": 1}, ("dataset.category is 1",)),
        ({"model.classification.name": "vit"}, ("no ByteFormer", "model.classification.name is 'vit'")),
        ({"model.classification.name": None}, ("no ByteFormer", "model.classification.name is null")),
        (
            {"dataset.category": "audio_classification"},
            ("there is no model.audio_classification.name", "model.classification.name is byteformer"),
        ),
    ],
    ids=lambda value: (
        "-".join(f"{k.split('.')[-1]}={v}" for k, v in value.items())[:50] if isinstance(value, dict) else ""
    ),
)
def test_each_value_that_corenet_cannot_use_is_an_error_with_its_key(
    flat: dict[str, Any], words: tuple[str, ...]
) -> None:
    text = problem(flat)
    for word in words:
        assert word in text
    assert "options cannot be used" not in text  # one problem, one sentence


def test_an_error_reads_as_one_sentence() -> None:
    assert problem({B + "mode": "medium"}) == f"x.yaml: {B}mode is 'medium'; CoreNet knows tiny, small, base, huge."


def test_huge_without_its_own_lists_names_both_and_both_numbers() -> None:
    text = problem({B + "mode": "huge"})
    assert "2 options cannot be used" in text
    for field in ("window_shifts", "downsample"):
        assert f"{B}{field} is not given, and CoreNet's default has 12 values; mode huge needs 32" in text


def test_all_problems_are_told_at_once() -> None:
    text = problem({B + "mode": "huge", B + "dropout": "x", B + "vocab_size": 0, "ema.enable": 2.0})
    for word in ("dropout", "vocab_size", "ema.enable", "window_shifts", "downsample"):
        assert word in text
    assert "5 options cannot be used" in text


def test_nothing_at_all_describes_no_byteformer() -> None:
    with pytest.raises(OptionsError, match=r"no ByteFormer: there is no model\.classification\.name"):
        options_from_mapping({}, source="x.yaml")


# Overrides


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        (f"{B}window_sizes=32", "window_sizes", (32,) * 12),
        (f"{B}window-sizes=32", "window_sizes", (32,) * 12),
        (f"--{B}window-sizes=[32]", "window_sizes", (32,) * 12),
        (f"{B}window_shifts=" + ",".join(["0", "16"] * 6), "window_shifts", (0, 16) * 6),
        (f"{B}downsample=[{', '.join(['true', 'false'] * 6)}]", "downsample", (True, False) * 6),
        (f"{B}downsample=" + ",".join(["True"] * 12), "downsample", (True,) * 12),
        (f"{B}mode=base", "embed_dim", 768),
        (f"{B}mode='base'", "embed_dim", 768),
        (f"{B}dropout=1e-1", "dropout", 0.1),
        (f"{B}conv_kernel_size=010", "conv_kernel_size", 10),
        (f"{B}padding_index=-1", "padding_index", -1),
        ("ema.enable=True", "ema_enable", True),
        ("model.activation.name=gelu", "activation", "gelu"),
        ("model.classification.n-classes=12", "n_classes", 12),
    ],
)
def test_an_override_counts_as_corenets_own_does(override: str, field: str, value: Any) -> None:
    assert getattr(options(override), field) == value


def test_of_two_overrides_the_last_counts_and_both_beat_the_file() -> None:
    assert options(f"{B}mode=small", f"{B}mode=base", mode="tiny").mode == "base"


def test_overrides_reach_flat() -> None:
    found = options("image_augmentation.pil_save.quality=60", "image_augmentation.random_uniform.width_range=-20,20")
    assert found.flat["image_augmentation.pil_save.quality"] == 60
    assert found.flat["image_augmentation.random_uniform.width_range"] == [-20, 20]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"{B}window_size=32", (f"{B}window_size is not an option", f"nearest one is {B}window_sizes")),
        ("optim.adamw.beta1=0.8", ("optim.adamw.beta1", "changes what is converted")),
        (f"{B}downsample=true,false", ("downsample", "true everywhere in CoreNet", "[true, false, ...]")),
        ("ema.enable=yes", ("ema.enable", "neither true nor false")),
        (f"{B}window_sizes=[1", ("window_sizes", "not YAML")),
        (f"{B}mode=medium", ("mode is 'medium'", "tiny", "(from --override)")),
        (f"{B}mode=", ("mode is ''",)),
        (f"{B}window_sizes=1,,2", ("window_sizes[1] is null",)),
        (f"{B}dropout=nan", ("dropout is nan", "finite")),
        (f"{B}conv_kernel_size=four", ("conv_kernel_size is 'four'",)),
        (f"{B}conv_kernel_size=!!python/name:os.system", ("tag !!python/name:os.system",)),
    ],
)
def test_an_override_without_effect_or_sense_is_an_error(override: str, words: tuple[str, ...]) -> None:
    with pytest.raises(OptionsError) as caught:
        options(override)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("override", ["", "mode", "=small", f"{B}mode=a=b"])
def test_an_override_of_another_form_is_a_usage_error_with_an_example(override: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE") as caught:
        options(override)
    assert caught.value.exit_code == 2
    assert f"--override {B}window_sizes=32" in str(caught.value)


# Files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("x.yaml: this file is empty",)),
        ("# only a comment\n", ("empty",)),
        ("- a\n- b\n", ("a list, not a mapping",)),
        ("hello\n", ("one value, 'hello'",)),
        ("model:\n  a: [1,\nb: 2\n", (", column", "not YAML", "flow sequence")),
        ("a: 1\n\tb: 2\n", ("line 2", "not YAML")),
        ("a: 1\n---\nb: 2\n", ("not YAML", "single document")),
        (
            "x: 1\nm: !!python/object/apply:os.system ['true']\n",
            ("line 2", "!!python/object/apply:os.system", "refused"),
        ),
        ("m: !secret x\n", ("line 1", "!secret")),
        ("m: !!int abc\n", ("cannot convert",)),
        ("m: 2001-99-99\n", ("cannot convert",)),
        ("m: {1: 2}\n", ("line 1", "key 1 is not text")),
        ("a: 1\non: 2\n", ("line 2", "key on is not text", "Quote it")),
        ("a: {[1, 2]: 3}\n", ("not text",)),
        ("a: \x00b\n", ("not YAML",)),
        (b"a: \xff\xfe\n", ("not a text file in UTF-8", "line 1", "checkpoint")),
        (b"\x00" * (4 * 2**20 + 1), ("more than 4 MB", "checkpoint")),
        ("a: " + "[" * 5000 + "]" * 5000, ("line 1", "nested more than 50")),
        ("a: &x [*x]\n", ("holds itself",)),
    ],
)
def test_a_file_that_is_no_yaml_of_options_is_one_clear_error(
    tmp_path: Path, text: str | bytes, words: tuple[str, ...]
) -> None:
    found = file_problem(tmp_path, text)
    for word in words:
        assert word in found


@pytest.mark.parametrize("merge", [False, True], ids=["lists", "merge keys"])
def test_an_alias_bomb_goes_nowhere(tmp_path: Path, merge: bool) -> None:
    lines = ["a0: &a0 {k: 1}" if merge else "a0: &a0 [1, 2]"]
    for level in range(1, 12):
        items = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + ("{<<: [" + items + "]}" if merge else f"[{items}]"))
    assert "aliases" in file_problem(tmp_path, "\n".join(lines))


def test_a_long_chain_of_aliases_is_too_deep(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100)]
    assert "nested more than" in file_problem(tmp_path, "\n".join(lines))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"gone\.yaml: there is no such file") as caught:
        load_options(tmp_path / "gone.yaml")
    assert caught.value.__cause__ is not None


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    assert load_options(write(tmp_path, b"\xef\xbb\xbf" + YAML.encode())).mode == "small"
    assert load_options(write(tmp_path, b"\xef\xbb\xbf" + adapter_config().encode(), "config.json")).mode == "small"


# The adapter's config.json


def adapter_config(**changes: Any) -> str:
    flat = NAME | {"dataset.category": "classification", B + "mode": "small", "model_type": "causal_lm"}
    return json.dumps(flat | {"dataset.name": None, "model.audio_classification.name": None} | changes)


def test_an_adapters_config_is_read_as_a_file_and_as_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path, adapter_config(), "config.json")
    assert load_options(path).mode == load_options(tmp_path).mode == "small"
    assert load_options(tmp_path).source == "config.json"
    assert load_options(tmp_path, [f"{B}mode=base"]).mode == "base"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "a list, not an object"),
        ('{"model_type": "vit"}', "no options of CoreNet's ByteFormer"),
        ('{"model_type": "byteformer"}', "converted already"),
        (adapter_config(**{B + "dropout": float("nan")}), "dropout is nan"),
    ],
)
def test_another_config_json_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in file_problem(tmp_path, text, "config.json")


def test_a_folder_without_config_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"no config\.json"):
        load_options(tmp_path)


def test_what_the_adapter_saved_and_the_yaml_it_came_from_mean_the_same(shared: Path) -> None:
    from_yaml = load_options(shared / "trained/digits_fhwc_k4_w32.yaml")
    from_adapter = load_options(shared / "trained/adapter_config.json")
    assert from_adapter.resolved() == from_yaml.resolved()
    assert from_adapter.ignored == from_yaml.ignored == ()
    assert (from_yaml.window_sizes[0], from_yaml.window_shifts[1], from_yaml.n_classes) == (32, 16, 10)


# The YAMLs that there are


def test_all_45_published_yamls_parse(shared: Path) -> None:
    found = [load_options(path) for path in sorted((shared / "corenet_configs").rglob("*.yaml"))]
    assert Counter(item.task for item in found) == {"image": 30, "audio": 15}
    for item in found:
        assert item.ignored == ()
        assert (item.mode, item.activation, item.max_num_tokens, item.ema_enable) == ("tiny", "gelu", 50000, True)
        assert item.n_classes == (12 if item.task == "audio" else 1000)


def test_there_is_one_shipped_yaml_for_each_published_checkpoint() -> None:
    assert sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")) == sorted(PUBLISHED)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_yaml_parses_and_says_where_its_weights_are(path: Path) -> None:
    found = load_options(path)
    assert found.ignored == ()
    assert (found.mode, found.activation, found.max_num_tokens, found.ema_enable) == ("tiny", "gelu", 50000, True)
    assert f"/{path.stem}.pt" in path.read_text().split("dataset:")[0]


@pytest.mark.parametrize(("name", "corenets"), PUBLISHED.items(), ids=PUBLISHED)
def test_a_shipped_yaml_means_what_corenets_means(name: str, corenets: str, shared: Path) -> None:
    theirs = load_options(shared / "corenet_configs" / f"{corenets}.yaml")
    ours = load_options(ROOT / "configs" / f"{name}.yaml")
    assert ours.resolved() == theirs.resolved()
    for option in PREPROCESSING_OPTIONS:
        assert ours.flat.get(option.key, option.default) == theirs.flat.get(option.key, option.default), option.key
