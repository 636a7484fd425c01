"""config.json as it is written without transformers says what transformers' config would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoConfig

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.mapping.config import SWITCHES, config_json, model_fields
from tests.worlds import golden_options, make_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.golden_cases import GoldenCase

NAMES = ("cat", "dog", "tree")


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    AutoConfig.register("byteformer", ByteFormerConfig, exist_ok=True)
    return


def labels(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def test_every_field_is_what_the_config_itself_would_say(golden_case: GoldenCase) -> None:
    options = golden_options(golden_case)
    written = config_json(options, labels(options.n_classes), "float32")
    config = ByteFormerConfig(**written)
    assert {key: value for key, value in as_json(config.to_dict()).items() if key in written} == written
    assert config.num_labels == options.n_classes


def as_json(content: dict[str, Any]) -> Any:
    return json.loads(json.dumps(content, default=str))


def test_no_field_of_the_config_is_left_out() -> None:
    own = set(ByteFormerConfig().to_dict()) - set(ByteFormerConfig.__mro__[1]().to_dict())
    assert own - {"model_type"} == set(model_fields(make_options())) - {"transformers_version"}


def test_autoconfig_reads_it_and_writes_the_same_again(golden_case: GoldenCase, tmp_path: Path) -> None:
    options = golden_options(golden_case)
    written = config_json(options, labels(options.n_classes), "float32")
    (tmp_path / "config.json").write_text(json.dumps(written))
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, ByteFormerConfig)
    assert [config.id2label[index] for index in range(options.n_classes)] == labels(options.n_classes)
    config.save_pretrained(tmp_path / "again")
    again = AutoConfig.from_pretrained(tmp_path / "again")
    fields = model_fields(options)
    assert {name: getattr(again, name) for name in fields} == fields
    assert again.id2label == config.id2label


def test_the_config_describes_corenets_model(golden_case: GoldenCase) -> None:
    architecture, fields = golden_case.architecture, model_fields(golden_options(golden_case))
    same = {
        "embed_dim": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "ffn_dim": "intermediate_size",
        "vocab_size": "vocab_size",
        "max_num_tokens": "max_position_embeddings",
        "conv_kernel_size": "conv_kernel_size",
        "window_sizes": "window_sizes",
        "window_shifts": "window_shifts",
        "downsample": "downsample",
        "activation": "hidden_act",
        "neg_slope": "hidden_act_slope",
        "dropout": "hidden_dropout_prob",
        "stochastic_dropout": "drop_path_rate",
    }
    assert {name: fields[ours] for name, ours in same.items()} == {name: architecture[name] for name in same}
    assert fields["position_embedding_type"] == ("sinusoidal" if architecture["sinusoidal_pos_emb"] else "learned")
    assert fields["layer_norm_fp32"] == (architecture["norm_layer"] == "layer_norm_fp32")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (
            {"mode": "small"},
            {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
        ),
        ({"vocab_size": 300}, {"vocab_size": 300}),
        ({"max_num_tokens": 77}, {"max_position_embeddings": 77}),
        ({"conv_kernel_size": 5}, {"conv_kernel_size": 5}),
        ({"window_sizes": [32]}, {"window_sizes": [32] * 12}),
        ({"window_shifts": [0, 7] * 6}, {"window_shifts": [0, 7] * 6}),
        ({"downsample": [True] * 2 + [False] * 10}, {"downsample": [True] * 2 + [False] * 10}),
        ({"sinusoidal_pos_emb": True}, {"position_embedding_type": "sinusoidal"}),
        ({"norm_layer": "layer_norm_fp32"}, {"layer_norm_fp32": True}),
        ({"dropout": 0.2}, {"hidden_dropout_prob": 0.2}),
        ({"stochastic_dropout": 0.1}, {"drop_path_rate": 0.1}),
        ({"name": "tanh"}, {"hidden_act": "tanh"}),
        ({"neg_slope": 0.3}, {"hidden_act_slope": 0.3}),
        ({"padding_index": 256}, {}),  # the forward pass compares with -1 whatever it says; the processor pads with it
        ({"dummy_input_token_length": 1}, {}),
        ({"use_pytorch_mha": True}, {}),
    ],
    ids=lambda value: next(iter(value), ""),
)
def test_each_option_has_its_effect_and_no_other(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    plain = config_json(make_options(), NAMES, "float32")
    assert config_json(make_options(**changes), NAMES, "float32") == plain | fields


def test_corenets_defaults_are_the_configs_but_for_the_activation() -> None:
    fields, defaults = model_fields(make_options()), ByteFormerConfig().to_dict()
    assert {name: value for name, value in fields.items() if defaults[name] != value} == {"hidden_act": "relu"}


def test_no_oddity_is_switched_off() -> None:
    fields = model_fields(make_options())
    assert {name: fields[name] for name in SWITCHES} == dict.fromkeys(SWITCHES, False)
    assert set(SWITCHES) == {"mask_padding", "mask_shifted_windows", "last_axis_layer_norm"}


@pytest.mark.parametrize(
    ("category", "auto", "name"),
    [
        ("classification", "AutoModelForImageClassification", "ByteFormerForImageClassification"),
        ("audio_classification", "AutoModelForAudioClassification", "ByteFormerForAudioClassification"),
    ],
)
def test_the_auto_map_leads_every_auto_class_of_the_task_to_its_class(category: str, auto: str, name: str) -> None:
    written = config_json(make_options(category=category), NAMES, "bfloat16")
    assert written["auto_map"] == {
        "AutoConfig": "configuration_byteformer.ByteFormerConfig",
        "AutoModel": "modeling_byteformer.ByteFormerModel",
        auto: f"modeling_byteformer.{name}",
    }
    assert written["architectures"] == [name]
    assert (written["model_type"], written["dtype"]) == ("byteformer", "bfloat16")


def test_labels_stand_in_both_directions() -> None:
    written = config_json(make_options(), NAMES, "float32")
    assert written["id2label"] == {"0": "cat", "1": "dog", "2": "tree"}
    assert written["label2id"] == {"cat": 0, "dog": 1, "tree": 2}


def test_of_classes_that_share_a_name_the_first_is_found_and_all_are_named() -> None:
    written = config_json(make_options(), ("crane", "dog", "crane"), "float32")
    assert list(written["id2label"].values()) == ["crane", "dog", "crane"]
    assert written["label2id"] == {"crane": 0, "dog": 1}
    assert ByteFormerConfig(**written).num_labels == 3
