"""The `published` command."""

from __future__ import annotations

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.report.published import draw_catalogue


def published(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List the checkpoints that Apple published, for `convert --published NAME`.

    Example: byteformer-convert published
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert.corenet.published import PUBLISHED

        draw_catalogue(reporter, tuple(PUBLISHED.values()))
