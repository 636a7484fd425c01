"""The command line: each command parses, makes one call, draws, and exits with the documented code.

The heavy imports sit inside the command bodies, so that `--help` loads neither torch nor transformers.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from byteformer_convert import __version__
from byteformer_convert.cli.batch import batch
from byteformer_convert.cli.convert import convert
from byteformer_convert.cli.demo import demo
from byteformer_convert.cli.evaluate import evaluate
from byteformer_convert.cli.inspect import inspect
from byteformer_convert.cli.predict import predict
from byteformer_convert.cli.published import published
from byteformer_convert.cli.push_to_hub import push_to_hub
from byteformer_convert.cli.shared import INTERRUPTED, has_begun
from byteformer_convert.cli.to_corenet import to_corenet
from byteformer_convert.cli.verify import verify
from byteformer_convert.errors import OutputError
from byteformer_convert.interrupts import listen, stop_listening
from byteformer_convert.report import Reporter
from byteformer_convert.report.stream import Stream

app = typer.Typer(
    name="byteformer-convert",
    help="Turns CoreNet ByteFormer checkpoints into Hugging Face folders, and proves that the numbers are equal.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"byteformer-convert {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Turns CoreNet ByteFormer checkpoints into Hugging Face folders, and proves that the numbers are equal."""


for command in (convert, verify, inspect, predict, evaluate, push_to_hub, demo, to_corenet, published, batch):
    app.command()(command)


def main() -> None:
    """Entry point of the console script."""
    try:
        try:
            listen()
            app()
        finally:
            stop_listening()  # nothing is left to clean up, and Python's own way out would answer with a traceback
    except KeyboardInterrupt:  # before the command has begun, or after it has ended
        stop_listening()  # again: the interrupt may have come in its first line
        sys.exit(INTERRUPTED)
    except OSError as error:
        if has_begun():
            raise
        # What click prints itself, such as --help.
        Stream(sys.stdout).flush()  # else Python would try once more when it ends, and say so
        unwritable = OutputError(f"cannot be written: {error.strerror}.", where="standard output")
        Reporter().error(unwritable)
        sys.exit(unwritable.exit_code)
