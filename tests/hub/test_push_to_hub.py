"""push-to-hub as a user runs it: a process with the real client, over both transfers, against the loopback Hub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hub.client import TOKEN
from tests.hub.folders import make_folder, write_report
from tests.hub.server import Fault, Hub

if TYPE_CHECKING:
    from tests.hub.client import Machine

pytestmark = pytest.mark.slow


def remote(hub: Hub, revision: str = "main") -> dict[str, str]:
    """Names and checksums of what the repository holds, without the one file that the Hub makes itself."""
    repo = hub.store.repos["ada/m"]
    entries = repo.commits[repo.refs[revision]]
    return {path: entry.etag for path, entry in entries.items() if path != ".gitattributes"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_push_sends_the_folders_own_files_and_nothing_beside_them(hub: Hub, either: Machine, folder: Path) -> None:
    own = names(folder)
    (folder / "secret.pem").write_text("PRIVATE KEY")
    (folder / ".DS_Store").write_text("")
    (folder / "logs").mkdir()
    (folder / "logs" / "config.json").write_text("{}")
    result = either.push(folder, "ada/m")
    assert result.returncode == 0, result.stderr
    assert set(remote(hub)) == own
    assert "secret.pem" in result.stderr
    assert "the Hub's checksums agree" in result.stdout
    over_xet = hub.calls("POST", "/cas/v1/xorbs/")
    assert (over_xet, hub.calls("PUT", "/storage/")) == ((1, 0) if either.xet else (0, 1))


def test_a_second_push_sends_nothing_and_says_so(hub: Hub, either: Machine, folder: Path) -> None:
    assert either.push(folder, "ada/m").returncode == 0
    before, commits = len(hub.log), len(hub.store.repos["ada/m"].commits)
    result = either.push(folder, "ada/m")
    assert result.returncode == 0
    assert "Nothing to send" in result.stdout
    assert sum(call.received for call in hub.log[before:]) == 0
    assert {call.method for call in hub.log[before:]} == {"GET"}
    assert len(hub.store.repos["ada/m"].commits) == commits


def test_what_was_sent_before_is_not_sent_again(hub: Hub, either: Machine, folder: Path) -> None:
    assert either.push(folder, "ada/m").returncode == 0
    (folder / "config.json").write_text("{}\n")
    write_report(folder, parity={"verdict": "passed"})
    before = hub.received("/cas/v1/xorbs|/storage")
    assert either.push(folder, "ada/m").returncode == 0
    assert hub.received("/cas/v1/xorbs|/storage") == before


def test_shards_of_an_older_push_do_not_stay_beside_the_new_weights(
    hub: Hub, machine: Machine, folder: Path, tmp_path: Path
) -> None:
    shards = {"model-00001-of-00002.safetensors": 2000, "model-00002-of-00002.safetensors": 1000}
    sharded = make_folder(tmp_path / "sharded", weights=shards | {"model.safetensors.index.json": 10})
    assert machine.push(sharded, "ada/m").returncode == 0
    hub.store.repos["ada/m"].commits[hub.store.repos["ada/m"].refs["main"]]["LICENSE"] = hub.store.regular(
        "LICENSE", b""
    )
    result = machine.push(folder, "ada/m")
    assert result.returncode == 0, result.stderr
    assert set(remote(hub)) == names(folder) | {"LICENSE"}
    assert "model-00001-of-00002.safetensors" in result.stdout


def test_a_dry_run_makes_no_call_and_changes_nothing(hub: Hub, machine: Machine, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = machine.push(folder, "ada/m", "--dry-run", HF_HUB_OFFLINE="1", HF_TOKEN="")
    assert result.returncode == 0, result.stderr
    assert hub.log == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    for name in names(folder):
        assert name in result.stdout
    assert "300,000" in result.stdout


def test_a_dry_run_lists_exactly_what_a_push_then_sends(hub: Hub, machine: Machine, folder: Path) -> None:
    planned = json.loads(machine.push(folder, "ada/m", "--dry-run", "--json").stdout)
    pushed = json.loads(machine.push(folder, "ada/m", "--json").stdout)
    assert (planned["dry_run"], pushed["dry_run"]) == (True, False)
    assert planned["files"] == pushed["files"]
    sizes = {file["name"]: file["size"] for file in planned["files"]}
    repo = hub.store.repos["ada/m"]
    assert {name: repo.commits[pushed["commit"]][name].size for name in sizes} == sizes
    assert planned["size"] == sum(sizes.values())


def test_json_is_one_document_and_quiet_says_nothing(machine: Machine, folder: Path) -> None:
    document = json.loads(machine.push(folder, "ada/m", "--json").stdout)
    assert document["schema_version"] == 1
    assert document["changed"] is True
    quiet = machine.push(folder, "ada/m", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_the_token_of_a_login_is_taken(hub: Hub, machine: Machine, folder: Path) -> None:
    (machine.home / "token").write_text(f"{TOKEN}\n")
    result = replace(machine, token=None).push(folder, "ada/m")
    assert result.returncode == 0, result.stderr
    assert set(remote(hub)) == names(folder)


def test_a_private_repository_is_made_private(hub: Hub, machine: Machine, folder: Path) -> None:
    assert machine.push(folder, "ada/m", "--private").returncode == 0
    assert hub.store.repos["ada/m"].private
    assert machine.push(folder, "ada/m", "--private").returncode == 0


@pytest.mark.parametrize(("there", "asked"), [(False, "--private"), (True, "--no-private")])
def test_a_repository_of_the_other_visibility_is_refused(
    hub: Hub, machine: Machine, folder: Path, there: bool, asked: str
) -> None:
    hub.store.create("ada/m", private=there)
    result = machine.push(folder, "ada/m", asked)
    assert result.returncode == 6
    assert f"is there already and {'private' if there else 'public'}, but {asked} was given" in result.stderr
    assert remote(hub) == {}
    assert hub.received() == 0


def test_a_missing_branch_is_made(hub: Hub, either: Machine, folder: Path) -> None:
    result = either.push(folder, "ada/m", "--revision", "v1.0-beta")
    assert result.returncode == 0, result.stderr
    assert set(remote(hub, "v1.0-beta")) == names(folder)
    assert remote(hub) == {}
    assert "v1.0-beta" in result.stdout


def test_a_pull_request_leaves_main_alone_and_can_be_added_to(hub: Hub, either: Machine, folder: Path) -> None:
    hub.store.create("ada/m")
    result = either.push(folder, "ada/m", "--create-pr")
    assert result.returncode == 0, result.stderr
    assert set(remote(hub, "refs/pr/1")) == names(folder)
    assert remote(hub) == {}
    assert "/ada/m/discussions/1" in result.stdout
    assert "/ada/m, refs/pr/1, commit" in result.stdout
    again = either.push(folder, "ada/m", "--revision", "refs/pr/1")
    assert again.returncode == 0
    assert "Nothing to send" in again.stdout


def test_the_commit_says_what_it_was_told_to_say(hub: Hub, machine: Machine, folder: Path) -> None:
    machine.push(folder, "ada/m", "--commit-message", "One line", "--commit-description", "Several more")
    assert hub.store.repos["ada/m"].messages[-1] == ("One line", "Several more")


def test_a_cut_in_the_middle_of_a_file_is_tried_again(hub: Hub, either: Machine, folder: Path) -> None:
    hub.faults += [Fault("PUT", "/storage/", None), Fault("POST", "/cas/v1/xorbs/", None)]
    result = either.push(folder, "ada/m")
    assert result.returncode == 0, result.stderr
    assert sum(call.status == 0 for call in hub.log) == 1
    assert set(remote(hub)) == names(folder)


def test_a_changed_folder_is_refused_before_any_call(hub: Hub, machine: Machine, folder: Path) -> None:
    (folder / "modeling_byteformer.py").write_text("import os")
    result = machine.push(folder, "ada/m")
    assert result.returncode == 6
    assert "modeling_byteformer.py was changed after the conversion" in result.stderr
    assert hub.log == []
