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
    HtmlPage,
    Override,
    Quiet,
    WeightsKeyChoice,
    WeightsKeyOption,
    reporting,
)
from byteformer_convert.report.check_page import conversion_page, failure_page
from byteformer_convert.report.conversion import draw_conversion
from byteformer_convert.report.page import write_page
from byteformer_convert.report.plots import require_plotting
from byteformer_convert.report.progress import download_bar


def convert(
    output: Annotated[Path, typer.Option(help="The folder to write.", metavar="DIR")],
    weights: Annotated[
        Path | None, typer.Option(help="CoreNet's .pt, or a folder that CoreNet's HF adapter saved.", metavar="PT")
    ] = None,
    config: Config = None,
    published: Annotated[
        str | None,
        typer.Option(help="A published checkpoint, fetched unless --weights gives its file.", metavar="NAME"),
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where fetched checkpoints are kept, if not in the usual place.", metavar="DIR")
    ] = None,
    override: Override = None,
    weights_key: WeightsKeyOption = WeightsKeyChoice.auto,
    labels: Annotated[Path | None, typer.Option(help="Class names: JSON, or one a line.", metavar="FILE")] = None,
    dtype: Annotated[DtypeChoice, typer.Option(help="Of the folder's weights; auto keeps the checkpoint's.")] = (
        DtypeChoice.auto
    ),
    max_shard_size: Annotated[
        str | None, typer.Option(help="Split the weights into files of at most this size.", metavar="SIZE")
    ] = None,
    trim_positions: Annotated[
        int | None, typer.Option(help="Keep the first N rows of the position table; enough for shorter files.")
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Licence of the weights, for the model card.", metavar="ID")
    ] = None,
    atol: Atol = 2e-5,
    skip_parity: Annotated[bool, typer.Option("--skip-parity", help="Write the folder unchecked; it says so.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that this tool wrote before.")] = False,
    html: HtmlPage = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Convert a CoreNet checkpoint, check parity, and write the folder.

    Example: byteformer-convert convert --config model.yaml --weights checkpoint_ema_best.pt --output byteformer

    Example: byteformer-convert convert --published imagenet_jpeg_q60_k4_w128 --output byteformer
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert import conversion, sources

        if html is not None:
            require_plotting()
        with download_bar(reporter, published or "") as progress:
            found = sources.find_sources(
                weights, config, published, output=output, force=force, cache_dir=cache_dir, progress=progress
            )
        reporter.notes(found.notes)
        request = conversion.Request(
            weights=found.weights,
            output=output,
            config=found.config,
            overrides=tuple(override or ()),
            weights_key=weights_key.value,
            labels=labels,
            dtype=dtype.value,
            max_shard_size=max_shard_size,
            atol=atol,
            skip_parity=skip_parity,
            force=force,
            license=license_id,
            published=found.published,
            trim_positions=trim_positions,
            detailed=html is not None,
        )
        with reporter.talk() as say, failure_page(request, html):
            result = conversion.convert(request, say)
        if html is not None:
            write_page(conversion_page(request, result), html)
        draw_conversion(reporter, result)
