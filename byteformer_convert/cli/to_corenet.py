"""The `to-corenet` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.report.to_corenet import draw_corenet_files


def to_corenet(
    folder: Annotated[Path, typer.Argument(help="A converted or fine-tuned folder.", metavar="DIR")],
    output: Annotated[Path, typer.Option(help="The .pt to write; its YAML goes beside it.", metavar="PT")],
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn a folder back into a CoreNet checkpoint and its YAML.

    Every tensor is bit for bit the folder's. What CoreNet cannot express is refused.

    Example: byteformer-convert to-corenet byteformer --output checkpoint.pt
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert import to_corenet as way_back

        with reporter.talk() as say:
            result = way_back.to_corenet(folder, output, force=force, say=say)
        draw_corenet_files(reporter, result)
