"""Runs as a script in a fresh process: loads a folder as a stranger would and answers with what it computes.

It is started by path, never imported: this package must not be importable where the folder is tried. One JSON
request a line on stdin, one JSON answer a line on stdout; tensors travel in safetensors files. Its one argument is the
folder for them: whoever started it removes that and ends it. Only if stdin ends first, it removes the folder itself.

    {"logits":  INPUTS, "output": PATH, "folder": DIR, "auto_class": NAME, "dtype": NAME}
    {"stages":  INPUTS, "output": PATH}      the stages of the model that the last request loaded
    {"config": NAMES, "folder": DIR}         fields of its config, defaults filled in
    {"classify": FILE, "folder": DIR, "auto_class": NAME, "dtype": NAME}      encodes a file and names its classes
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

PACKAGE = "byteformer_convert"


class _Blocker:
    """Makes the package that wrote the folder unimportable: the folder has to work without it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == PACKAGE:
            raise ModuleNotFoundError(f"{name} is hidden from the process that tries the folder", name=name)


def main() -> None:
    sys.meta_path.insert(0, _Blocker())
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print must not mix with the answers
    import torch
    import transformers

    torch.set_num_threads(1)  # sums come out the same whatever the number of cores and OMP_NUM_THREADS
    transformers.utils.logging.disable_progress_bar()
    model = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "auto_class" in request:
                model = load(transformers, torch, request)
            answer: dict[str, Any] = {"ok": True}
            with torch.no_grad():
                if "config" in request:
                    answer |= config_fields(transformers, request)
                elif "classify" in request:
                    answer |= classify(transformers, model, request)
                else:
                    write_answer(model, request)
        except Exception as error:  # every failure of a folder is an answer
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def load(transformers: Any, torch: Any, request: dict[str, Any]) -> Any:
    auto_class = getattr(transformers, request["auto_class"])
    model, info = auto_class.from_pretrained(
        request["folder"],
        trust_remote_code=True,
        local_files_only=True,
        dtype=getattr(torch, request["dtype"]),
        output_loading_info=True,
    )
    # from_pretrained only warns about these, and leaves what is missing at random values.
    if left := {name: sorted(map(str, found)) for name, found in info.items() if found}:
        raise ValueError(f"the folder's weights do not fill its model: {left}")
    return model.eval()


def write_answer(model: Any, request: dict[str, Any]) -> None:
    from safetensors.torch import load_file, save_file

    if "logits" in request:
        inputs = load_file(request["logits"])
        outputs = {name: model(input_ids=ids).logits.float() for name, ids in inputs.items()}
    else:
        outputs = dict(run_stages(model, load_file(request["stages"])))
    save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, request["output"])


def config_fields(transformers: Any, request: dict[str, Any]) -> dict[str, Any]:
    config = transformers.AutoConfig.from_pretrained(request["folder"], trust_remote_code=True, local_files_only=True)
    return {"config": {name: getattr(config, name, None) for name in request["config"]}}


def classify(transformers: Any, model: Any, request: dict[str, Any]) -> dict[str, Any]:
    processor = transformers.AutoProcessor.from_pretrained(
        request["folder"], trust_remote_code=True, local_files_only=True
    )
    inputs = processor(request["classify"], return_tensors="pt")
    probabilities = model(**inputs).logits.softmax(-1)[0]
    top = probabilities.topk(min(5, probabilities.numel()))
    names = [model.config.id2label[index] for index in top.indices.tolist()]
    length = inputs["input_ids"].shape[1]
    return {"bytes": length, "top": [list(pair) for pair in zip(names, top.values.tolist(), strict=True)]}


def run_stages(model: Any, inputs: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Each stage by CoreNet's name, fed with the tensor under its name in `inputs` ("embeddings": byte ids)."""
    for name, stage in stages(model, inputs["embeddings"]):
        if name in inputs:
            yield name, stage(inputs[name]).float()


def stages(model: Any, ids: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    backbone = model.byteformer
    prepared, lengths = backbone._prepare(ids, None)
    lengths = lengths if backbone.config.mask_padding else None
    yield "embeddings", lambda _: backbone.embeddings(prepared)
    for index, layer in enumerate(backbone.layers):
        merging, layer.token_merging = layer.token_merging, None
        yield f"transformer.{index}", partial(first_output, layer, lengths)
        if merging is not None:
            lengths = None if lengths is None else (lengths + 1) // 2
            yield f"downsamplers.downsample_{index}", partial(merging, lengths=lengths)
        layer.token_merging = merging
    yield "post_transformer_norm", partial(backbone.layernorm, lengths=lengths)
    yield "logits", lambda hidden: model.classifier(hidden.mean(dim=1))


def first_output(layer: Any, lengths: Any, hidden: Tensor) -> Tensor:
    output: Tensor = layer(hidden, lengths)[0]
    return output


if __name__ == "__main__":
    main()
