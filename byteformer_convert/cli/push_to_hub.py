"""The `push-to-hub` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from byteformer_convert.cli.shared import AsJson, Quiet, reporting
from byteformer_convert.report.publish import draw_plan, draw_push, teller


def push_to_hub(
    folder: Annotated[Path, typer.Argument(help="A converted folder.", metavar="DIR")],
    repo_id: Annotated[str, typer.Argument(help="Where to: USER/NAME; made where it is missing.", metavar="REPO_ID")],
    private: Annotated[
        bool | None,
        typer.Option("--private/--no-private", help="Of a repository that is made; one that is there must be so."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, made where it is missing, or refs/pr/N.", metavar="NAME")
    ] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request against main.")] = False,
    commit_message: Annotated[str | None, typer.Option(help="First line of the commit.", metavar="TEXT")] = None,
    commit_description: Annotated[str | None, typer.Option(help="The rest of it.", metavar="TEXT")] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Better in HF_TOKEN, or from `hf auth login`: others can see a command line.", metavar="TOKEN"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and show what would be sent; no network.")] = False,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Push although parity was skipped or does not hold.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Publish a converted folder on the Hugging Face Hub, after checking it against its report.

    Sends the folder's own files and nothing that lies beside them. The same command again goes on where one stopped.

    Example: byteformer-convert push-to-hub byteformer USER/byteformer-tiny --private
    """
    with reporting(as_json=as_json, quiet=quiet) as reporter:
        from byteformer_convert.output.push_plan import PushRequest, plan_push

        request = PushRequest(
            folder=folder,
            repo_id=repo_id,
            private=private,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            commit_description=commit_description,
            token=token,
            allow_unverified=allow_unverified,
        )
        plan = plan_push(request)
        if dry_run:
            draw_plan(reporter, plan)
            return
        from byteformer_convert.output.publish import push

        draw_push(reporter, push(plan, teller(reporter), progress=sys.stderr.isatty() and not quiet))
