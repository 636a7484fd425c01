"""What evaluate found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from byteformer_convert.evaluation.clock import Throughput
    from byteformer_convert.evaluation.engine import Outcome
    from byteformer_convert.evaluation.result import ArithmeticScore, BrokenFile, Evaluation, Share
    from byteformer_convert.report.reporter import Reporter

FEW_CLASSES = 20
SHOWN = 10


def draw_evaluation(reporter: Reporter, outcome: Outcome) -> None:
    """Accuracy, classes, what is mixed up, broken files, and where the time went."""
    evaluation = outcome.evaluation
    reporter.notes([*evaluation.notes, *_sentences(evaluation)])
    if reporter.as_json:
        reporter.document(evaluation.to_dict())
    elif not reporter.quiet:
        reporter.out.print(score_table(evaluation))
        reporter.out.print(class_table(evaluation.faithful))
        reporter.out.print(confusion_table(evaluation.faithful))
        if evaluation.broken:
            reporter.out.print(broken_table(evaluation.broken, evaluation.broken_count))
        reporter.out.sentence(escape(_summary(evaluation)))
    if not reporter.quiet:
        reporter.err.sentence(escape(_time_sentence(outcome.throughput)))


def score_table(evaluation: Evaluation) -> Table:
    """One row per arithmetic, with 95 % confidence intervals."""
    # Without edges the longest name of a switch fits into 80 columns.
    table = Table(title=f"Accuracy on {evaluation.scored:,} files", title_justify="left", show_edge=False)
    table.add_column("arithmetic", overflow="fold")
    for name in ("top-1", "95 % interval", "top-5", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for score in evaluation.scores:
        loss = f"{score.loss.value:.4f} ± {score.loss.half_width:.4f}"
        name = score.name.replace("+", " + ")
        table.add_row(name, percent(score.top1), interval(score.top1), percent(score.top5), loss)
    return table


def class_table(score: ArithmeticScore) -> Table:
    """Every class where there are few, else the worst ones."""
    present = [one for one in score.classes if one.top1.of]
    few = len(present) <= FEW_CLASSES
    shown = present if few else sorted(present, key=lambda one: one.top1.value or 0.0)[:SHOWN]
    table = Table(title="Classes" if few else f"The {SHOWN} classes with the lowest accuracy", title_justify="left")
    table.add_column("row", justify="right")
    table.add_column("class", overflow="fold")
    for name in ("files", "top-1", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in shown:
        table.add_row(str(one.row), escape(one.name), f"{one.top1.of:,}", percent(one.top1), interval(one.top1))
    return table


def confusion_table(score: ArithmeticScore) -> Table:
    """What is mixed up most often."""
    names = {one.row: one.name for one in score.classes}
    wrong = sorted((cell for cell in score.confusion if cell.row != cell.predicted), key=lambda cell: -cell.count)
    table = Table(title="Mixed up most often", title_justify="left")
    table.add_column("class", overflow="fold")
    table.add_column("taken for", overflow="fold")
    table.add_column("files", justify="right")
    for cell in wrong[:SHOWN]:
        table.add_row(escape(names[cell.row]), escape(names[cell.predicted]), f"{cell.count:,}")
    return table


def broken_table(broken: Sequence[BrokenFile], count: int) -> Table:
    """Files that could not be used."""
    table = Table(title=f"Left out, for they cannot be used: {count:,}", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("why", overflow="fold")
    for file in broken[:SHOWN]:
        table.add_row(escape(file.name), escape(file.reason))
    if count > SHOWN:
        table.add_row(f"... and {count - SHOWN:,} more", "--json lists them")
    return table


def percent(share: Share) -> str:
    """`95.00 %`."""
    return "no files" if share.value is None else f"{100 * share.value:.2f} %"


def interval(share: Share) -> str:
    """`92.40 to 96.74 %`, the 95 % confidence interval."""
    return "" if share.interval is None else "{:.2f} to {:.2f} %".format(*(100 * bound for bound in share.interval))


def _sentences(evaluation: Evaluation) -> list[str]:
    sentences = [f"Class order: {evaluation.class_order}."]
    if (effect := evaluation.precision) is not None:
        sentences.append(
            f"Computed in {effect.precision}: on {effect.files:,} files that were computed in float32, too, a logit "
            f"moved by at most {effect.max_difference}, and {effect.changed:,} files changed their class."
        )
    return sentences


def _summary(evaluation: Evaluation) -> str:
    top1 = evaluation.faithful.top1
    left_out = f", {evaluation.broken_count:,} more were left out" if evaluation.broken_count else ""
    return (
        f"{evaluation.folder}: top-1 {percent(top1)} of {top1.of:,} files{left_out}; {evaluation.batches}. "
        f"{evaluation.norm_sentence()}"
    )


def _time_sentence(spent: Throughput) -> str:
    rate = spent.files / spent.seconds if spent.seconds else 0.0
    encoding = 1000 * spent.encoding_seconds
    return (
        f"{spent.files:,} files in {spent.seconds:.1f} s, {rate:.1f} files/s. The model took {spent.model_share:.0%} "
        f"of the time, waiting for files {spent.waiting_share:.0%}; reading and encoding one takes a worker "
        f"{encoding:.1f} ms. Processes: {spent.processes}, with {spent.workers} workers each. Peak memory "
        f"{spent.peak_memory / 2**20:,.0f} MiB."
    )
