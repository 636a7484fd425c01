"""The `evaluate` command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.report.evaluation import draw_evaluation


class FormatChoice(StrEnum):
    auto = "auto"
    tree = "tree"
    list = "list"
    manifest = "manifest"
    datasets = "datasets"


class ClassOrderChoice(StrEnum):
    check = "check"
    data = "data"
    labels = "labels"


class MixedPrecisionChoice(StrEnum):
    no = "no"
    bf16 = "bf16"
    fp16 = "fp16"


def evaluate(
    folder: Annotated[Path, typer.Argument(help="A converted folder. Its own .py files are run.", metavar="DIR")],
    data: Annotated[
        Path,
        typer.Option(
            help="Folders named like classes; a list of files (PATH, tab, CLASS); a Speech Commands manifest; or what "
            "the datasets library reads.",
            metavar="ROOT",
        ),
    ],
    data_format: Annotated[
        FormatChoice, typer.Option("--format", help="What --data is; auto looks at it.")
    ] = FormatChoice.auto,
    split: Annotated[str | None, typer.Option(help="Of a datasets folder with several.", metavar="NAME")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The files are in the model's encoding already.")] = False,
    class_order: Annotated[
        ClassOrderChoice,
        typer.Option(
            help="check: the data's order must be that of the labels; data: count as the data does; labels: go by name."
        ),
    ] = ClassOrderChoice.check,
    batch_size: Annotated[int, typer.Option(min=1, help="Files in a batch; CoreNet takes 48.")] = 48,
    unpadded: Annotated[
        bool, typer.Option("--unpadded", help="Pad no file: no file's logits depend on another file.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Also without CoreNet's oddities, in the same pass: mask_padding, mask_shifted_windows, "
            "last_axis_layer_norm, with commas between; + switches several at once.",
            metavar="SWITCHES",
        ),
    ] = None,
    mixed_precision: Annotated[
        MixedPrecisionChoice, typer.Option(help="Compute in it; its difference to float32 is measured.")
    ] = MixedPrecisionChoice.no,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read and encode files.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many files.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the processor's random steps, where it has any.")] = 0,
    journal: Annotated[
        Path | None, typer.Option(help="Write finished batches to it, and go on from it after a kill.", metavar="FILE")
    ] = None,
    write_card: Annotated[
        bool, typer.Option("--write-card", help="Write the numbers into the folder's model card.")
    ] = False,
    data_name: Annotated[
        str | None, typer.Option(help="What the card calls the data, such as ILSVRC/imagenet-1k.", metavar="NAME")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the folder's code even where it is not this version's.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure a folder's accuracy on labelled files, as CoreNet evaluates.

    Works under `accelerate launch` and `torchrun`, too: the batches are distributed, the result stays the same.

    Example: byteformer-convert evaluate byteformer --data imagenet/validation --journal evaluation.jsonl
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert.evaluation import engine
        from byteformer_convert.evaluation.request import EvaluationRequest

        request = EvaluationRequest(
            folder=folder,
            data=data,
            data_format=data_format.value,
            split=split,
            raw=raw,
            class_order=class_order.value,
            batch_size=batch_size,
            padded=not unpadded,
            compare=compare,
            mixed_precision=mixed_precision.value,
            workers=workers,
            limit=limit,
            seed=seed,
            journal=journal,
            write_card=write_card,
            data_name=data_name,
            trust_remote_code=trust_remote_code,
        )
        try:
            with reporter.talk() as say:
                outcome = engine.evaluate(request, say)
        except KeyboardInterrupt:
            if journal is not None:
                reporter.notes([f"{journal} holds what is done; the same command goes on from there."])
            raise
        if outcome is not None:  # else another process speaks
            draw_evaluation(reporter, outcome)
