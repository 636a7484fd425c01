"""The `inspect` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Config, Override, Quiet, WeightsKeyChoice, WeightsKeyOption, reporting
from byteformer_convert.report.inspection import draw_inspection


def inspect(
    folder: Annotated[Path | None, typer.Argument(help="A converted folder.", metavar="[DIR]")] = None,
    config: Config = None,
    weights: Annotated[
        Path | None, typer.Option(help="CoreNet's .pt, or a folder that CoreNet's HF adapter saved.", metavar="PT")
    ] = None,
    override: Override = None,
    weights_key: WeightsKeyOption = WeightsKeyChoice.auto,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what is in a YAML, a checkpoint or a folder, what maps to what, and what would fail.

    Exits with 3 where YAML and checkpoint do not fit each other.

    Example: byteformer-convert inspect --config model.yaml --weights checkpoint_ema_best.pt
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert import inspection

        result = inspection.inspect(
            config, weights, folder, overrides=tuple(override or ()), weights_key=weights_key.value
        )
        draw_inspection(reporter, result)
        if result.mismatches:
            raise typer.Exit(3)
