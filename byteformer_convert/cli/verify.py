"""The `verify` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import (
    AsJson,
    Atol,
    Config,
    HtmlPage,
    Override,
    Quiet,
    WeightsKeyChoice,
    WeightsKeyOption,
    reporting,
)
from byteformer_convert.report.check_page import verification_page
from byteformer_convert.report.conversion import draw_verification
from byteformer_convert.report.page import write_page
from byteformer_convert.report.plots import require_plotting


def verify(
    folder: Annotated[Path, typer.Argument(help="A converted folder. Its own .py files are run.", metavar="DIR")],
    weights: Annotated[Path, typer.Option(help="The checkpoint that it came from.", metavar="PT")],
    config: Config = None,
    override: Override = None,
    weights_key: WeightsKeyOption = WeightsKeyChoice.auto,
    atol: Atol = 2e-5,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the folder's code even where it is not this version's.")
    ] = False,
    html: HtmlPage = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check a finished folder against its source: weights bit for bit, logits in a fresh process.

    Example: byteformer-convert verify byteformer --config model.yaml --weights checkpoint_ema_best.pt
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert import verification

        if html is not None:
            require_plotting()
        with reporter.talk() as say:
            result = verification.verify(
                folder,
                weights,
                config,
                overrides=tuple(override or ()),
                weights_key=weights_key.value,
                atol=atol,
                trust_remote_code=trust_remote_code,
                detailed=html is not None,
                say=say,
            )
        if html is not None:
            write_page(verification_page(result, config or weights, tuple(override or ())), html)
        draw_verification(reporter, result)
        if not result.passed:
            raise typer.Exit(4)
