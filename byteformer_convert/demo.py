"""The whole way on a generated checkpoint: needs no network and no file of anybody's."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.conversion import Conversion, Request, convert
from byteformer_convert.corenet.options import load_options
from byteformer_convert.corenet.published import config_path
from byteformer_convert.corenet.state_dict import expected_shapes
from byteformer_convert.errors import OutputError
from byteformer_convert.output.staging import output_errors

if TYPE_CHECKING:
    from torch import Tensor

    from byteformer_convert.checking import Say
    from byteformer_convert.corenet.options import CoreNetOptions

NAME = "imagenet_jpeg_q60_k4_w128"  # the shape of the published k = 4 ImageNet checkpoint
SEED = 0


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo did.

    Attributes:
        output: Where everything is: `corenet/` with the checkpoint and its YAML, `converted/` with the folder.
        conversion: The conversion.
        file: The file that was classified.
        length: Bytes that the model was fed.
        top: Class names and probabilities, best first.
    """

    output: Path
    conversion: Conversion
    file: Path
    length: int
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "output": str(self.output),
            "conversion": self.conversion.to_dict(),
            "classified": {
                "file": self.file.name,
                "bytes": self.length,
                "top": [{"label": label, "probability": probability} for label, probability in self.top],
            },
        }


def run_demo(output: Path, say: Say) -> Demo:
    """Generates a CoreNet checkpoint, converts it with parity, and classifies a real file as a stranger would.

    Args:
        output: A folder that is not there yet.
        say: Is told what happens.

    Raises:
        OutputError: The folder is there already, or cannot be written.
        ParityError: The conversion is faulty.
    """
    if os.path.lexists(output):
        raise OutputError("is there already.", where=output, hint="Choose another --output, or remove it yourself.")
    with output_errors(output):
        (output / "corenet").mkdir(parents=True)
    try:
        return _run(output, say)
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise


def generated_weights(options: CoreNetOptions, seed: int) -> dict[str, Tensor]:
    """A CoreNet state dict of random weights of a trained model's size, the padding row zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes(options).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            state[name] = 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
        else:
            state[name] = noise / shape[1] ** 0.5 if name != "pos_embed.pos_embed.pos_embed" else 0.1 * noise
    state["embeddings.weight"][-1] = 0
    return state


def _run(output: Path, say: Say) -> Demo:
    from importlib import resources

    import torch

    from byteformer_convert.parity.check import AUTO_CLASSES
    from byteformer_convert.parity.fresh_process import FreshProcess

    say(f"Generating a checkpoint of the shape of {NAME}")
    config = output / "corenet" / f"{NAME}.yaml"
    weights = output / "corenet" / f"{NAME}.pt"
    with output_errors(output):
        shutil.copyfile(config_path(NAME), config)
        options = load_options(config)
        torch.save(generated_weights(options, SEED), weights)
    conversion = convert(Request(config=config, weights=weights, output=output / "converted"), say)
    say("Classifying a JPEG file in a fresh process")
    sample = resources.files("byteformer_convert").joinpath("data", "sample.jpg")
    with FreshProcess() as process, resources.as_file(sample) as file:
        answer = process.classify(conversion.output, file, auto_class=AUTO_CLASSES[options.task])
    top = tuple((label, probability) for label, probability in answer["top"])
    return Demo(output, conversion, Path(file.name), answer["bytes"], top)
