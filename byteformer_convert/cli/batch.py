"""The `batch` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.report.batch import draw_batch, watching


def batch(
    manifest: Annotated[Path, typer.Argument(help="YAML or JSON: what to convert.", metavar="MANIFEST")],
    output: Annotated[Path, typer.Option(help="Where all folders go, one for each entry.", metavar="DIR")],
    jobs: Annotated[int, typer.Option(help="How many to convert at a time, each in a process of its own.")] = 1,
    shard: Annotated[
        str | None, typer.Option(help="Do only every Nth entry, beginning with the Ith.", metavar="I/N")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where fetched checkpoints are kept, if not in the usual place.", metavar="DIR")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace folders whose inputs have changed.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Convert everything that a manifest lists; the same command again does what is left.

    A folder that is there, whole, and made from the same inputs in the same way is skipped. Writes
    batch_report.json, and exits with the code of the worst entry.

    The manifest has `entries` and, for all of them, `defaults`, with the keys name, weights, config (or
    published), overrides, weights_key, labels, dtype, max_shard_size, license, trim_positions, atol,
    skip_parity, push (USER/NAME, or a mapping of push-to-hub's options); an entry may have runs, a pattern for
    folders, in place of a name.

    Example: byteformer-convert batch sweep.yaml --output converted --jobs 2
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert.batch.convert_entry import Settings
        from byteformer_convert.batch.run import run_batch

        with watching(reporter) as watcher:
            result = run_batch(manifest, Settings(output, cache_dir, force), jobs=jobs, shard=shard, watcher=watcher)
        draw_batch(reporter, result)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
