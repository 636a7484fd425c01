"""Every way in which the Hub says no: one message with the next step, exit code 6, no token in it, and a second run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.hub.client import OTHER_TOKEN, READ_TOKEN, TOKEN, WRONG_TOKEN, Machine
from tests.hub.server import Fault, Hub, Response, answer, refuse

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.slow

TOKENS = (TOKEN, READ_TOKEN, OTHER_TOKEN, WRONG_TOKEN)
FOR_EVER = 99


@dataclass(frozen=True)
class Case:
    """What goes wrong, and words of the message and of the next step."""

    name: str
    message: str
    step: str
    token: str | None = TOKEN
    options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    fault: tuple[str, str, Response | None] | None = None
    xet: bool = False


TAKEN = answer({"error": "You already created this model repo", "url": "x"}, 409)
ECHO = refuse(400, f"{TOKEN} may not do this")
BAD_CARD = answer({"errors": [{"message": '"license" must be one of'}]}, 400)
GATEWAY = Response(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})

# fmt: off
CASES = (
    Case("wrong token",     "does not know this token", "make a new one", token=WRONG_TOKEN),
    Case("read token",      "it belongs to ada, and its role is read", "write permission", token=READ_TOKEN),
    Case("foreign name",    "it belongs to bob, and its role is write", "--create-pr", token=OTHER_TOKEN),
    Case("no token",        "there is no token", "hf auth login", token=None),
    Case("malformed token", "the token is not one", "Copy it again", options=("--token", f"{TOKEN} x")),
    Case("line break",      "the token is not one", "Copy it again", options=("--token", f"{TOKEN}\nx")),
    Case("not found",       "there is no such repository", "Check the name", options=("--create-pr",)),
    Case("no pull request", "no such branch or pull request", "--revision", options=("--revision", "refs/pr/7")),
    Case("name taken",      "the name is taken", "another name", fault=("POST", "/api/repos/create", TAKEN)),
    Case("echoed token",    "(*** may not do this)", "again", fault=("POST", "/api/repos/create", ECHO)),
    Case("no trust",        "could not be exchanged", "id-token: write", token=None,
         environment=(("HF_OIDC_RESOURCE", "ada/m"),)),
    Case("rate limit",      "asks for a pause", "Wait", fault=("POST", "/api/repos/create", refuse(429, "Slow down"))),
    Case("server down",     "a problem of its own (HTTP status 503)", "status.huggingface.co",
         fault=("POST", "/api/repos/create", Response(503, b"<html>"))),
    Case("gateway",         "the answer is not the Hub's", "HF_ENDPOINT", fault=("POST", "/validate-yaml", GATEWAY)),
    Case("card",            '"license" must be one of', "Convert again", fault=("POST", "/validate-yaml", BAD_CARD)),
    Case("commit cut",      "the connection broke in the middle", "again", fault=("POST", "/commit/", None)),
    Case("offline",         "offline mode is on", "Unset HF_HUB_OFFLINE", environment=(("HF_HUB_OFFLINE", "1"),)),
    Case("unreachable",     "cannot be reached", "Check the network",
         environment=(("HF_ENDPOINT", "http://127.0.0.1:9"),)),  # where nothing listens
    Case("Xet not served",  "does not offer Xet", "HF_HUB_DISABLE_XET=1", xet=True,
         fault=("GET", "/xet-write-token/", refuse(404, "Not found"))),
    Case("Xet cut",         "the connection to Xet", "HF_HUB_DISABLE_XET=1", xet=True,
         fault=("POST", "/cas/v1/xorbs/", None)),
)
# fmt: on


def failing_push(case: Case, machine: Machine, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    machine = replace(machine, token=case.token, xet=case.xet)
    return machine.push(folder, "ada/m", *case.options, *options, **dict(case.environment))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_refusal_is_one_message_with_the_next_step(case: Case, hub: Hub, machine: Machine, folder: Path) -> None:
    hub.faults += [Fault(*case.fault, times=FOR_EVER)] if case.fault else []
    result = failing_push(case, machine, folder)
    said = result.stdout + result.stderr
    assert result.returncode == 6, said
    assert case.message in result.stderr
    assert said.count("error:") == 1
    assert case.step in result.stderr.split("error:")[1].split("\n", 1)[1]
    assert "Traceback" not in said
    assert not any(token in said for token in TOKENS)

    if case.fault:
        hub.faults.clear()
        assert machine.push(folder, "ada/m").returncode == 0


def test_with_json_the_refusal_is_the_document(machine: Machine, folder: Path) -> None:
    result = failing_push(CASES[0], machine, folder, "--json")
    error = json.loads(result.stdout)["error"]
    assert (error["kind"], error["exit_code"], error["where"]) == ("hub", 6, "ada/m")
    assert WRONG_TOKEN not in result.stdout


def test_what_arrived_before_a_cut_is_not_sent_again(hub: Hub, machine: Machine, folder: Path) -> None:
    hub.faults.append(Fault("POST", "/commit/", None))
    assert machine.push(folder, "ada/m").returncode == 6
    sent = hub.received("/storage/")
    assert machine.push(folder, "ada/m").returncode == 0
    assert hub.received("/storage/") == sent > 0


def test_a_damaged_file_on_the_hub_does_not_go_unseen(hub: Hub, machine: Machine, folder: Path) -> None:
    assert machine.push(folder, "ada/m").returncode == 0
    repo = hub.store.repos["ada/m"]
    tree = repo.commits[repo.refs["main"]]
    rows = [entry.row() | {"lfs": {"oid": "0" * 64, "size": 1, "pointerSize": 1}} for entry in tree.values()]
    hub.faults.append(Fault("GET", "/tree/[0-9a-f]{40}", answer(rows)))
    repo.commits[repo.refs["main"]] = {path: entry for path, entry in tree.items() if path != "config.json"}
    result = machine.push(folder, "ada/m")
    assert result.returncode == 6
    assert "what the Hub has now is not what the folder holds" in result.stderr
