"""What a push sends, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.markup import escape

from byteformer_convert.report.tables import file_table

if TYPE_CHECKING:
    from byteformer_convert.output.publish import Push
    from byteformer_convert.output.push_plan import PushPlan
    from byteformer_convert.report.reporter import Reporter


def teller(reporter: Reporter) -> Callable[[str], None]:
    """Shows what is going on, a line each: a spinner would be in the way of the client's own progress bars."""

    def say(message: str) -> None:
        if not reporter.quiet:
            reporter.err.sentence(escape(message))

    return say


def draw_plan(reporter: Reporter, plan: PushPlan) -> None:
    """What would be sent; with JSON, that is the document."""
    reporter.notes(plan.notes)
    if reporter.as_json:
        reporter.document(plan.to_dict() | {"dry_run": True})
    elif not reporter.quiet:
        reporter.out.print(file_table(plan.files))
        if plan.rewritten:
            reporter.out.sentence(
                "README.md is to name the repository in its code, and the report the card's checksum."
            )
        reporter.out.sentence(f"Would send {_amount(plan)} to {plan.request.repo_id}; nothing was sent.")


def draw_push(reporter: Reporter, push: Push) -> None:
    """What was sent."""
    reporter.notes([*push.plan.notes, *push.warnings])
    if reporter.as_json:
        reporter.document(push.to_dict() | {"dry_run": False})
    elif not reporter.quiet:
        if push.changed:
            reporter.out.print(file_table(push.plan.files))
        for sentence in _sentences(push):
            reporter.out.sentence(escape(sentence))


def _amount(plan: PushPlan) -> str:
    return f"{len(plan.files)} files, {plan.size:,} bytes"


def _sentences(push: Push) -> list[str]:
    where = push.url if push.revision == "main" else f"{push.url}, {push.revision}"
    if not push.changed:
        return [f"Nothing to send: {where} holds exactly these files, at commit {push.commit[:12]}."]
    sentences = [f"Made the repository {push.plan.request.repo_id}."] if push.created else []
    if push.deleted:
        sentences.append(f"Removed what an older push had left: {', '.join(push.deleted)}.")
    sentences.append(
        f"Published {_amount(push.plan)} at {where}, commit {push.commit[:12]}; the Hub's checksums agree."
    )
    if push.pull_request is not None:
        sentences.append(f"Pull request: {push.pull_request}")
    return sentences
