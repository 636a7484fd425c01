"""The `demo` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.report.conversion import draw_demo


def demo(
    output: Annotated[Path, typer.Option(help="A folder that is not there yet.", metavar="DIR")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Generate a checkpoint, convert it with parity, and classify a file; needs no network.

    Example: byteformer-convert demo --output demo-out
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert.demo import run_demo

        with reporter.talk() as say:
            result = run_demo(output, say)
        draw_demo(reporter, result)
