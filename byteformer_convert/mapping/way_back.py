"""config.json and preprocessor_config.json -> CoreNet's options: the inverse of `config.py` and `processor.py`.

What CoreNet has no option for is an error here, never left out: a YAML that says less than the folder would compute
something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from byteformer_convert.corenet.option_table import BYTEFORMER, CATEGORIES, SIZES, shown
from byteformer_convert.errors import FolderError
from byteformer_convert.mapping.config import SWITCHES, TASK_CLASSES
from byteformer_convert.mapping.labels import NAMED_DATA_SETS, data_set_names
from byteformer_convert.mapping.processor import AUDIO, COLLATE_FUNCTIONS, IMAGE, RESAMPLE, SAMPLING_RATE

# ByteFormerConfig's own defaults: transformers leaves a field that has its default out of the config.json it saves.
CONFIG_DEFAULTS: Final[Mapping[str, Any]] = {
    "vocab_size": 257,
    "hidden_size": 192,
    "num_hidden_layers": 12,
    "num_attention_heads": 3,
    "intermediate_size": 768,
    "hidden_act": "gelu",
    "hidden_act_slope": 0.1,
    "conv_kernel_size": 16,
    "max_position_embeddings": 10000,
    "position_embedding_type": "learned",
    "window_sizes": [128] * 12,
    "window_shifts": [0, 64] * 6,
    "downsample": [True, True, *[False, True] * 4, False, False],
    "layer_norm_eps": 1e-5,
    "layer_norm_fp32": False,
    "hidden_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
    **SWITCHES,
}

SWITCH_REASONS: Final = {
    "mask_padding": "CoreNet never masks padding",
    "mask_shifted_windows": "CoreNet never masks shifted windows",
    "last_axis_layer_norm": "CoreNet normalises over the tokens where there are as many of them as channels",
}


def corenet_options(
    config: Mapping[str, Any], processor: Mapping[str, Any] | None, n_classes: int, *, where: str
) -> dict[str, Any]:
    """CoreNet's options, flat dotted keys, ready for a YAML.

    Args:
        config: config.json of a converted or fine-tuned folder.
        processor: Its preprocessor_config.json; None where there is none, and then the options are silent on bytes.
        n_classes: Rows of the classifier.
        where: Name of the folder, for errors.

    Raises:
        FolderError: The folder holds something that CoreNet's ByteFormer cannot express; every such thing at once.
    """
    fields = {**CONFIG_DEFAULTS, **{name: config[name] for name in CONFIG_DEFAULTS if name in config}}
    task = _task(config)
    problems = [*_inexpressible(config, fields, n_classes), *([] if task else [_no_task(config)])]
    problems += _inexpressible_bytes(processor or {}, task)
    if problems:
        raise FolderError(
            "CoreNet cannot express this folder: " + "; ".join(problems) + ".",
            where=where,
            hint="Its numbers need transformers; nothing was written.",
        )
    assert task is not None
    bytes_options = {} if processor is None else _bytes_options(processor, task)
    return _task_options(task) | _data_set(config, n_classes) | bytes_options | _model_options(fields, n_classes)


def _task(config: Mapping[str, Any]) -> str | None:
    architectures = config.get("architectures") or []
    return next((task for task, (_, model) in TASK_CLASSES.items() if model in architectures), None)


def _no_task(config: Mapping[str, Any]) -> str:
    names = " or ".join(model for _, model in TASK_CLASSES.values())
    return f"architectures is {shown(config.get('architectures'))}, and CoreNet has ByteFormer as {names} only"


def _inexpressible(config: Mapping[str, Any], fields: Mapping[str, Any], n_classes: int) -> Iterator[str]:
    for name, reason in SWITCH_REASONS.items():
        if fields[name]:
            yield f"{name} is on, and {reason}"
    if _mode(fields) is None:
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        given = ", ".join(f"{name} {fields[name]}" for name in sizes)
        yield f"its size ({given}) is none of CoreNet's modes {', '.join(SIZES)}"
    if fields["layer_norm_eps"] != CONFIG_DEFAULTS["layer_norm_eps"]:
        yield f"layer_norm_eps is {fields['layer_norm_eps']}, and CoreNet's is 1e-5"
    if "quantization_config" in config:
        yield "its weights are quantized"
    labels = config.get("id2label")
    if labels is not None and len(labels) != n_classes:
        yield f"config.json names {len(labels)} classes, and the classifier has {n_classes} rows"


def _inexpressible_bytes(processor: Mapping[str, Any], task: str | None) -> Iterator[str]:
    rate = processor.get("sampling_rate", SAMPLING_RATE)
    if task == "audio" and rate != SAMPLING_RATE:
        yield f"sampling_rate is {rate}, and CoreNet's ByteFormer hears {SAMPLING_RATE} samples per second"
    resample = processor.get("resample")
    if resample is not None and resample not in RESAMPLE.values():
        yield f"resample is {shown(resample)}, which is not a filter that CoreNet knows"


def _mode(fields: Mapping[str, Any]) -> str | None:
    size = tuple(
        fields[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    )
    return next((mode for mode, known in SIZES.items() if tuple(known) == size), None)


def _task_options(task: str) -> dict[str, Any]:
    category = next(category for category, known in CATEGORIES.items() if known == task)
    options = {"dataset.category": category}
    if category != "classification":
        options[f"model.{category}.name"] = "byteformer"
    return options | {"model.classification.name": "byteformer"}


def _data_set(config: Mapping[str, Any], n_classes: int) -> dict[str, Any]:
    """CoreNet has no class names, only data sets that bring theirs: so one is named where the names are its own."""
    labels = config.get("id2label") or {}
    names = [labels.get(str(index)) for index in range(n_classes)]
    for (name, count), file_name in NAMED_DATA_SETS.items():
        if count == n_classes and tuple(names) == data_set_names(file_name):
            return {"dataset.name": name}
    return {}


def _model_options(fields: Mapping[str, Any], n_classes: int) -> dict[str, Any]:
    own = {
        "mode": _mode(fields),
        "vocab_size": fields["vocab_size"],
        "max_num_tokens": fields["max_position_embeddings"],
        "conv_kernel_size": fields["conv_kernel_size"],
        "window_sizes": _shortened(fields["window_sizes"]),
        "window_shifts": _list(fields["window_shifts"]),
        "downsample": _list(fields["downsample"]),
        "sinusoidal_pos_emb": fields["position_embedding_type"] == "sinusoidal",
        "norm_layer": "layer_norm_fp32" if fields["layer_norm_fp32"] else "layer_norm",
        "dropout": fields["hidden_dropout_prob"],
        "stochastic_dropout": fields["drop_path_rate"],
    }
    return {
        "model.classification.n_classes": n_classes,
        **{BYTEFORMER + name: value for name, value in own.items()},
        "model.activation.name": fields["hidden_act"],
        "model.activation.neg_slope": fields["hidden_act_slope"],
    }


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _shortened(sizes: Any) -> list[int]:
    """One value where all layers share it: CoreNet repeats a list of one, of window_sizes alone."""
    values = _list(sizes)
    return values[:1] if len(set(values)) == 1 else values


def _bytes_options(processor: Mapping[str, Any], task: str) -> dict[str, Any]:
    options = _image_options(processor) if task == "image" else _audio_options(processor)
    if (padding := processor.get("padding_value", -1)) != -1:
        options[BYTEFORMER + "padding_index"] = int(padding)
    collate = COLLATE_FUNCTIONS[task][0]
    return {f"dataset.collate_fn_name_{mode}": collate for mode in ("train", "val", "test")} | options


def _image_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    steps: dict[str, dict[str, Any] | None] = {
        "resize": _resize(fields) if fields.get("do_resize", True) else None,
        "center_crop": {"size": _edges(fields.get("crop_size") or {"height": 224, "width": 224})}
        if fields.get("do_center_crop", True)
        else None,
        "pil_save": _encoding(fields),
        "shuffle_bytes": _shuffle(fields),
        "mask_positions": _given(fields, keep_frac="keep_fraction"),
        "random_uniform": _given(fields, width_range="noise_range"),
        "byte_permutation": {} if fields.get("permute_bytes") else None,
    }
    return {
        f"{IMAGE}{step}.{name}": value
        for step, values in steps.items()
        if values is not None
        for name, value in {"enable": True, **values}.items()
    }


def _resize(fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {number: name for name, number in reversed(RESAMPLE.items()) if name != "cubic"}
    size = fields.get("size") or {"shortest_edge": 256}
    return {"size": _edges(size), "interpolation": names[fields.get("resample", RESAMPLE["bicubic"])]}


def _edges(size: Mapping[str, int]) -> int | list[int]:
    if "shortest_edge" in size:
        return size["shortest_edge"]
    return [size["height"], size["width"]]


def _encoding(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    encoding = fields.get("file_encoding")
    if encoding is None:
        return None
    quality = {"quality": fields.get("jpeg_quality", 100)} if encoding == "JPEG" else {}
    return {"file_encoding": encoding, **quality}


def _shuffle(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    mode = fields.get("shuffle_mode")
    if mode is None:
        return None
    extra = {"stride": ("stride", "shuffle_stride"), "window_shuffle": ("window_size", "shuffle_window_size")}
    name, field = extra.get(mode, (None, None))
    return {"mode": mode} | ({name: fields.get(field, 1024)} if name and field else {})


def _given(fields: Mapping[str, Any], **names: str) -> dict[str, Any] | None:
    values = {name: fields.get(field) for name, field in names.items()}
    return None if None in values.values() else values


def _audio_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    options = {f"{AUDIO}set_fixed_length.length": fields.get("num_samples", SAMPLING_RATE)}
    if (file_format := fields.get("file_format")) is None:
        return options
    save = f"{AUDIO}torchaudio_save."
    options |= {save + "enable": True, save + "format": file_format}
    return options | (
        {save + "encoding_dtype": fields.get("encoding_dtype", "float32")} if file_format == "wav" else {}
    )
