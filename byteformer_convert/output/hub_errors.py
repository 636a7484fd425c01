"""What can go wrong with the Hub, in words: one row for each kind, with the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from byteformer_convert.errors import HubError

TOKENS: Final = "https://huggingface.co/settings/tokens"
AGAIN: Final = "Run the same command again: what has arrived is not sent twice."

# kind -> what is wrong, what to do next
WORDS: Final[dict[str, tuple[str, str]]] = {
    "offline": (
        "offline mode is on, so nothing can be sent.",
        "Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), or look at what would be sent with --dry-run.",
    ),
    "no token": (
        "there is no token to log in to the Hub with.",
        f"Run `hf auth login`, or set HF_TOKEN to a token with write permission from {TOKENS}.",
    ),
    "malformed token": (
        "the token is not one: it holds a space, a line break or a letter that no token has.",
        f"Copy it again from {TOKENS}, without quotes and spaces.",
    ),
    "oidc": (
        "the token of this CI job could not be exchanged for one of the Hub's.",
        "The job needs the permission `id-token: write`, and the repository a trusted publisher; or set HF_TOKEN.",
    ),
    "wrong token": (
        "the Hub does not know this token.",
        f"It may have been deleted, or cut short in copying: make a new one with write permission at {TOKENS}.",
    ),
    "forbidden": (
        "the token may not write to this repository.",
        f"Use a token with write permission ({TOKENS}) of an account that may write there, or give --create-pr.",
    ),
    "not found": (
        "there is no such repository, or the token may not see it.",
        "Check the name; --create-pr proposes a change to a repository that is there, and never makes one.",
    ),
    "name taken": (
        "the name is taken by a repository that this token cannot see.",
        "Choose another name, or a token that may see it.",
    ),
    "no branch": (
        "there is no such branch or pull request.",
        "Check --revision; a branch is made where it is missing, refs/pr/N is not.",
    ),
    "gone ahead": (
        "the repository was changed by somebody else at the same time.",
        "Run the same command again.",
    ),
    "card": (
        "the Hub does not accept the metadata of README.md.",
        "Convert again with a --license that the Hub knows: https://huggingface.co/docs/hub/repositories-licenses.",
    ),
    "rate limit": ("the Hub asks for a pause: too many calls.", f"Wait some minutes. {AGAIN}"),
    "server": (
        "the Hub has a problem of its own.",
        f"Look at https://status.huggingface.co. {AGAIN}",
    ),
    "strange answer": (
        "the answer is not the Hub's; a proxy or a gateway may have given it.",
        f"Check the network and HF_ENDPOINT. {AGAIN}",
    ),
    "unreachable": (
        "the Hub cannot be reached.",
        f"Check the network, the proxy settings and HF_ENDPOINT. {AGAIN}",
    ),
    "cut": ("the connection broke in the middle.", AGAIN),
    "xet": (
        "the connection to Xet, the Hub's storage for large files, broke.",
        f"{AGAIN} Where a network lets nothing through to that storage, set HF_HUB_DISABLE_XET=1.",
    ),
    "no xet": (
        "the server does not offer Xet, the storage that large files go to by default.",
        "Run the same command again with HF_HUB_DISABLE_XET=1: they then go over Git LFS.",
    ),
    "arrived": ("what the Hub has now is not what the folder holds.", "Run the same command again."),
    "refused": ("the Hub refused.", AGAIN),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure, as far as the client tells.

    Attributes:
        kind: A row of `WORDS`.
        detail: The server's or the client's own words, without the token; empty where they add nothing.
    """

    kind: str
    detail: str = ""

    def error(self, repo_id: str, *, create_pr: bool = False) -> HubError:
        """The error to raise."""
        message, hint = WORDS[self.kind]
        if create_pr and AGAIN in hint:
            hint += " If a pull request is open by now, add to it with --revision refs/pr/N instead of --create-pr."
        detail = " ".join(self.detail.split()).rstrip(".")
        message = f"{message[:-1]} ({detail})." if detail else message
        return HubError(message, where=repo_id, hint=hint)


def kind_of_status(status: int) -> str:
    """The kind of failure that an HTTP status means, where nothing more is known."""
    if status >= 500:
        return "server"
    kinds = {
        400: "refused", 401: "wrong token", 402: "forbidden", 403: "forbidden", 404: "not found", 409: "gone ahead",
        412: "gone ahead", 429: "rate limit",
    }  # fmt: skip
    return kinds.get(status, "refused")
