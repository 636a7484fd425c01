"""Targets that read a finished folder: each of its files in turn is the hostile one, the others are good."""

from __future__ import annotations

import atexit
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

from byteformer_convert.errors import ByteFormerConvertError
from byteformer_convert.evaluation.card import with_measurement
from byteformer_convert.inspection import inspect_folder
from byteformer_convert.loading import load_folder
from byteformer_convert.output.folder import (
    CARD_NAME,
    CONFIG_NAME,
    INDEX_NAME,
    PROCESSOR_NAME,
    WEIGHTS_NAME,
    record_files,
)
from byteformer_convert.output.push_plan import PushRequest, plan_push
from byteformer_convert.output.staging import REPORT_NAME
from byteformer_convert.output.weight_files import read_weights, weight_shapes
from byteformer_convert.prediction import predict
from byteformer_convert.report.inspection import draw_inspection
from byteformer_convert.report.prediction import draw_prediction
from byteformer_convert.to_corenet import to_corenet
from tests.folders import make_folder
from tests.hostile.attempt import Target
from tests.hostile.bounds import MEGABYTE, Bounds
from tests.hostile.commands import draw, written
from tests.hostile.replay import scratch_root

RESULT = {
    "task": {"type": "image-classification"},
    "dataset": {
        "name": "x", "type": "x", "config": "c", "args": {"files": 1, "scored": 1, "batches": "b", "axis_one_norm": "n"}
    },
    "metrics": [
        {"type": "x", "value": 1.0, "args": {"tool": "byteformer-convert 0", "command": "c", "interval95": [0, 1]}}
    ] * 2,
}  # fmt: skip


@cache
def good_folder() -> Path:
    """A converted folder in half precision, made once a process."""
    parent = Path(mkdtemp(prefix="hostile-folder-", dir=scratch_root()))
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    folder = make_folder(parent, max_num_tokens=60)
    config = json.loads((folder / CONFIG_NAME).read_bytes())
    (folder / CONFIG_NAME).write_text(json.dumps(config | {"dtype": "float16"}))
    save_file({name: tensor.half() for name, tensor in load_file(folder / WEIGHTS_NAME).items()}, folder / WEIGHTS_NAME)
    list_again(folder, folder)
    return folder


def list_again(folder: Path, source: Path) -> None:
    """Writes the report of `source` into the folder, with the files that are there."""
    report = json.loads((source / REPORT_NAME).read_bytes())
    (folder / REPORT_NAME).unlink(missing_ok=True)
    report["files"] = [record.to_dict() for record in record_files(folder)]
    written(folder, REPORT_NAME, json.dumps(report).encode())


def folder_with(place: Path, name: str, data: bytes, *, without: tuple[str, ...] = ()) -> Path:
    """The good folder, linked, with these bytes in place of one file."""
    folder = place / "folder"
    folder.mkdir()
    for path in good_folder().iterdir():
        if path.name not in (name, *without):
            os.link(path, folder / path.name)
    written(folder, name, data)
    return folder


def use(*steps: Callable[[], object]) -> None:
    """Every step; what our own errors refuse is refused, and the last of them is raised at the end."""
    refusal = None
    for step in steps:
        try:
            step()
        except ByteFormerConvertError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def load_and_classify(folder: Path, place: Path) -> None:
    """`byteformer-convert predict`."""
    picture = place / "x.png"
    Image.new("RGB", (40, 40), (200, 120, 40)).save(picture)
    loaded = load_folder(folder)
    result = predict(loaded, [picture])
    draw(lambda reporter: draw_prediction(reporter, result))


def look_at(folder: Path) -> None:
    """`byteformer-convert inspect DIR`."""
    inspection = inspect_folder(folder)
    draw(lambda reporter: draw_inspection(reporter, inspection))


def plan(folder: Path) -> None:
    """`byteformer-convert push-to-hub --dry-run`."""
    plan_push(PushRequest(folder, "me/x", allow_unverified=True)).to_dict()


def read_config(data: bytes, place: Path) -> None:
    """The bytes are config.json."""
    folder = folder_with(place, CONFIG_NAME, data)
    use(
        lambda: look_at(folder),
        lambda: to_corenet(folder, place / "x.pt"),
        lambda: load_and_classify(folder, place),
    )


def read_processor(data: bytes, place: Path) -> None:
    """The bytes are preprocessor_config.json."""
    folder = folder_with(place, PROCESSOR_NAME, data)
    use(lambda: to_corenet(folder, place / "x.pt"), lambda: load_and_classify(folder, place))


def read_report(data: bytes, place: Path) -> None:
    """The bytes are conversion_report.json."""
    folder = folder_with(place, REPORT_NAME, data)
    use(lambda: plan(folder), lambda: to_corenet(folder, place / "x.pt"))


def read_card(data: bytes, place: Path) -> None:
    """The bytes are README.md, and the report says so."""
    folder = folder_with(place, CARD_NAME, data, without=(REPORT_NAME,))
    list_again(folder, good_folder())
    text = data.decode(errors="replace")
    use(lambda: plan(folder), lambda: with_measurement(text, RESULT, "x"))


def read_index(data: bytes, place: Path) -> None:
    """The bytes are model.safetensors.index.json beside two shards."""
    folder = folder_with(place, INDEX_NAME, data, without=(WEIGHTS_NAME,))
    for shard in (1, 2):
        written(folder, f"model-{shard}.safetensors", save({f"x{shard}": torch.ones(2)}))
    use(lambda: look_at(folder), lambda: read_weights(folder))


def read_tensors(data: bytes, place: Path) -> None:
    """The bytes are model.safetensors."""
    folder = folder_with(place, WEIGHTS_NAME, data)
    use(
        lambda: look_at(folder),
        lambda: weight_shapes(folder),
        lambda: to_corenet(folder, place / "x.pt"),
        lambda: load_and_classify(folder, place),
    )


def file_seed(name: str) -> Callable[[], Iterator[bytes]]:
    """The good folder's own file."""

    def seeds() -> Iterator[bytes]:
        yield (good_folder() / name).read_bytes()

    return seeds


def index_seeds() -> Iterator[bytes]:
    """An index that fits."""
    yield b'{"metadata": {}, "weight_map": {"x1": "model-1.safetensors", "x2": "model-2.safetensors"}}'


def tensors_seeds() -> Iterator[bytes]:
    """Small ones: none fills the model."""
    yield save({"classifier.weight": torch.ones(3, 4), "byteformer.layers.0.mlp.fc1.weight": torch.ones(2, 2)})
    yield save({"byteformer.embeddings.byte_embeddings.weight": torch.ones(257, 192, dtype=torch.float16)})


_JSON = (b"null", b"true", b"[]", b"{}", b"NaN", b"1e999", b"-1", b"99999999999", b'"\\ud800"', b"0.5", b'"a--b.C"')
_CONFIG = tuple(
    f'"{name}": '.encode()
    for name in (
        "hidden_size", "num_hidden_layers", "num_labels", "id2label", "auto_map", "configuration_files",
        "transformers_weights", "quantization_config", "attn_implementation", "_attn_implementation", "dtype",
        "problem_type", "torch_dtype", "architectures", "window_sizes", "downsample", "to_dict", "return_dict",
    )
)  # fmt: skip
_PROCESSOR = tuple(
    f'"{name}": '.encode()
    for name in (
        "size", "crop_size", "resample", "file_encoding", "shuffle_mode", "noise_range", "keep_fraction",
        "shortest_edge", "image_processor_type", "feature_extractor_type", "auto_map", "processor_class",
    )
)  # fmt: skip
# A model of 20 MB is loaded, and copied where it goes back to CoreNet.
_LOADS = Bounds(memory=512 * MEGABYTE, memory_per_byte=16)

FOLDER_TARGETS = (
    Target("folder_config", read_config, file_seed(CONFIG_NAME), words=(*_JSON, *_CONFIG), bounds=_LOADS),
    Target("folder_processor", read_processor, file_seed(PROCESSOR_NAME), words=(*_JSON, *_PROCESSOR), bounds=_LOADS),
    Target("folder_report", read_report, file_seed(REPORT_NAME), words=_JSON, bounds=_LOADS),
    Target(
        "folder_card", read_card, file_seed(CARD_NAME), words=(b"---\n", b"model-index:", b"&a ", b"*a"), bounds=_LOADS
    ),
    Target(
        "folder_index", read_index, index_seeds, words=(b"weight_map", b"model-1.safetensors", b"../x", b"/dev/zero")
    ),
    Target("folder_tensors", read_tensors, tensors_seeds, words=(b'"dtype":"F32"', b'"shape":[2,2]'), bounds=_LOADS),
)
