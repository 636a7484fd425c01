"""The `predict` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.errors import FileInputError
from byteformer_convert.report.prediction import draw_prediction


def predict(
    folder: Annotated[Path, typer.Argument(help="A converted folder, or one fine-tuned from it.", metavar="DIR")],
    files: Annotated[list[Path], typer.Argument(help="Files to classify.", metavar="FILE...")],
    top_k: Annotated[int, typer.Option(min=1, help="Classes per file.")] = 5,
    raw: Annotated[
        bool, typer.Option("--raw", help="Feed the files' own bytes, instead of encoding as the model was trained.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of encodings that are random (noise, shuffled bytes); each file draws anew.")
    ] = 0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the folder's code where it is not this version's.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Classify files. One that cannot be used is reported, the rest go on, and the exit code is 3.

    Files are opened and encoded as the model was trained: images are resized, cropped and encoded, WAV files cut to
    length and encoded. With --raw their own bytes go in as they are.

    Example: byteformer-convert predict byteformer cat.jpg dog.png --top-k 3
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert.loading import load_folder
        from byteformer_convert.prediction import predict as classify

        with reporter.talk() as say:
            say("Loading the model")
            loaded = load_folder(folder, trust_remote_code=trust_remote_code)
        with reporter.progress("Classifying", len(files)) as advance:
            result = classify(loaded, files, top_k=top_k, raw=raw, seed=seed, advance=advance)
        draw_prediction(reporter, result)
        if result.errors:
            raise typer.Exit(FileInputError.exit_code)
