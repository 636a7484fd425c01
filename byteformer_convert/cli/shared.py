"""What the commands share: option types, and the block in which a command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.bus_error import bus_errors
from byteformer_convert.errors import ByteFormerConvertError
from byteformer_convert.interrupts import asked_to_stop
from byteformer_convert.machine import check_machine, lack_behind
from byteformer_convert.report import Reporter

INTERRUPTED = 130
_begun = False


class WeightsKeyChoice(StrEnum):
    auto = "auto"
    model = "model"
    ema = "ema"


class DtypeChoice(StrEnum):
    auto = "auto"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


Config = Annotated[Path | None, typer.Option(help="CoreNet's YAML.", metavar="YAML")]
Override = Annotated[
    list[str] | None,
    typer.Option(help="Set one of the YAML's keys, such as model.classification.n_classes=12. Repeatable."),
]
WeightsKeyOption = Annotated[
    WeightsKeyChoice,
    typer.Option(help="Weights of a training checkpoint; auto takes EMA where there is any, as CoreNet evaluates."),
]
Atol = Annotated[
    float,
    typer.Option(
        help="Largest difference of two logits that is allowed; up to 10 times float32's own noise where that is more."
    ),
]
HtmlPage = Annotated[
    Path | None, typer.Option(help="Write a page with plots of the check; needs the extra `html`.", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No talk and no tables; errors still show.")]


def has_begun() -> bool:
    """Whether a command's own block was entered: until then click alone is at work."""
    return _begun


@contextmanager
def reporting(*, as_json: bool, quiet: bool) -> Iterator[Reporter]:
    """A reporter for the block; our own errors end it with their message and exit code, all others stay bugs."""
    global _begun
    _begun = True
    reporter = Reporter(as_json=as_json, quiet=quiet)
    try:
        with bus_errors(reporter.error):
            check_machine()
            yield reporter
    except (Exception, KeyboardInterrupt) as error:
        # torch's and safetensors' C code may turn a KeyboardInterrupt into an error of their own.
        if asked_to_stop() or isinstance(error, KeyboardInterrupt):
            reporter.interrupted()
            raise typer.Exit(INTERRUPTED) from None
        ours = error if isinstance(error, ByteFormerConvertError) else lack_behind(error)
        if ours is not None:
            reporter.error(ours)
            raise typer.Exit(ours.exit_code) from error
        raise
