"""The `convert` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import (
    AsJson,
    Atol,
    Config,
    DtypeChoice,
    Override,
    Quiet,
    WeightsKeyChoice,
    WeightsKeyOption,
    reporting,
)
from byteformer_convert.report.conversion import draw_conversion


def convert(
    weights: Annotated[
        Path, typer.Option(help="CoreNet's .pt, or a folder that CoreNet's HF adapter saved.", metavar="PT")
    ],
    output: Annotated[Path, typer.Option(help="The folder to write.", metavar="DIR")],
    config: Config = None,
    override: Override = None,
    weights_key: WeightsKeyOption = WeightsKeyChoice.auto,
    labels: Annotated[Path | None, typer.Option(help="Class names: JSON, or one a line.", metavar="FILE")] = None,
    dtype: Annotated[DtypeChoice, typer.Option(help="Of the folder's weights; auto keeps the checkpoint's.")] = (
        DtypeChoice.auto
    ),
    max_shard_size: Annotated[
        str | None, typer.Option(help="Split the weights into files of at most this size.", metavar="SIZE")
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Licence of the weights, for the model card.", metavar="ID")
    ] = None,
    atol: Atol = 2e-5,
    skip_parity: Annotated[bool, typer.Option("--skip-parity", help="Write the folder unchecked; it says so.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that this tool wrote before.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Convert a CoreNet checkpoint, check parity, and write the folder.

    Example: byteformer-convert convert --config model.yaml --weights checkpoint_ema_best.pt --output byteformer
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert import conversion

        request = conversion.Request(
            weights=weights,
            output=output,
            config=config,
            overrides=tuple(override or ()),
            weights_key=weights_key.value,
            labels=labels,
            dtype=dtype.value,
            max_shard_size=max_shard_size,
            atol=atol,
            skip_parity=skip_parity,
            force=force,
            license=license_id,
        )
        with reporter.talk() as say:
            result = conversion.convert(request, say)
        draw_conversion(reporter, result)
