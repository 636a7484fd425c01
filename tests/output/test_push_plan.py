"""What is refused before anything is sent, and what would be sent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.errors import FolderError, HubError, UsageError
from byteformer_convert.output.hub_errors import WORDS, Fault, kind_of_status
from byteformer_convert.output.push_plan import PushRequest, plan_push
from tests.hub.folders import CARD, make_folder, write_report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "folder")


def refusal(folder: Path, **options: Any) -> str:
    """What is said of a folder that is refused."""
    with pytest.raises(HubError) as caught:
        plan_push(PushRequest(folder, "ada/m", **options))
    assert caught.value.exit_code == 6
    assert "Nothing was sent" in str(caught.value)
    return str(caught.value)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_report(folder: Path, change: Any) -> None:
    path = folder / "conversion_report.json"
    report = json.loads(path.read_text())
    change(report)
    path.write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "README.md").write_text("---\na: b\n---\n"), "README.md was changed"),
        (lambda folder: flip_a_bit(folder / "model.safetensors"), "model.safetensors was changed"),
        (lambda folder: (folder / "extra.py").write_text("import os"), "extra.py is not listed"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"x"), "pytorch_model.bin is not listed"),
        (lambda folder: (folder / "conversion_report.json").unlink(), "conversion_report.json is missing"),
        (lambda folder: (folder / "conversion_report.json").write_text("{"), "conversion_report.json cannot be read"),
        (lambda folder: (folder / "conversion_report.json").write_text("[]"), "is not a JSON object"),
        (lambda folder: edit_report(folder, lambda report: report.pop("files")), "does not list the folder's files"),
        (
            lambda folder: edit_report(folder, lambda report: report["files"][0].update(name="../secret")),
            "'../secret', which is not a file of the folder itself",
        ),
        (lambda folder: edit_report(folder, lambda report: report["files"].pop(0)), "README.md is not listed"),
    ],
)
def test_a_folder_that_is_not_what_its_report_says_is_refused(folder: Path, change: Any, problem: str) -> None:
    change(folder)
    assert problem in refusal(folder)
    assert problem in refusal(folder, allow_unverified=True)


def test_a_folder_that_was_not_converted_is_not_to_be_converted_again(folder: Path) -> None:
    (folder / "conversion_report.json").unlink()
    assert "transformers' own push_to_hub" in refusal(folder)


def test_all_problems_are_named_at_once(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "modeling_byteformer.py").write_text("")
    edit_report(folder, lambda report: report.pop("parity"))
    said = refusal(folder)
    for problem in ("config.json is missing", "modeling_byteformer.py was changed", "says nothing of parity"):
        assert problem in said


@pytest.mark.parametrize(
    ("parity", "said"),
    [
        ({"verdict": "skipped"}, "parity was skipped"),
        ({"verdict": "failed"}, "parity is 'failed'"),
        ({"verdict": "PASSED"}, "parity is 'PASSED'"),
        ({}, "says nothing of parity"),
        (None, "says nothing of parity"),
    ],
)
def test_without_parity_a_folder_is_refused_unless_it_is_allowed(tmp_path: Path, parity: Any, said: str) -> None:
    folder = make_folder(tmp_path / "folder", parity=parity)
    assert said in refusal(folder)
    assert "--allow-unverified" in refusal(folder)
    plan = plan_push(PushRequest(folder, "ada/m", allow_unverified=True))
    assert any(said in note for note in plan.notes)


def test_a_card_without_metadata_is_refused(tmp_path: Path) -> None:
    assert "does not begin with metadata" in refusal(make_folder(tmp_path / "a", card="# A model\n"))
    assert "does not begin with metadata" in refusal(make_folder(tmp_path / "b", card="---\n[\n---\n"))


def test_a_card_without_a_licence_is_pointed_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder", card=CARD.replace("license: mit\n", ""))
    assert any("no licence" in note for note in plan_push(PushRequest(folder, "ada/m")).notes)


def test_what_lies_beside_is_not_in_the_plan(folder: Path) -> None:
    (folder / "secret.pem").write_text("x")
    plan = plan_push(PushRequest(folder, "ada/m"))
    assert plan.beside == ("secret.pem",)
    assert "secret.pem" not in {file.name for file in plan.files}


def test_the_card_is_to_name_its_repository_and_the_report_to_agree(folder: Path) -> None:
    plan = plan_push(PushRequest(folder, "ada/m"))
    card, report = plan.rewritten["README.md"], json.loads(plan.rewritten["conversion_report.json"])
    assert b'model="ada/m"' in card
    listed = {file["name"]: file["sha256"] for file in report["files"]}
    assert listed["README.md"] == hashlib.sha256(card).hexdigest()
    for name, content in plan.rewritten.items():
        (folder / name).write_bytes(content)
    again = plan_push(PushRequest(folder, "ada/m"))
    assert again.rewritten == {}
    assert again.files == plan.files
    assert b'model="bob/n"' in plan_push(PushRequest(folder, "bob/n")).rewritten["README.md"]


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is not a folder"):
        plan_push(PushRequest(tmp_path / "nothing", "ada/m"))


@pytest.mark.parametrize("name", ["ada/m", "a/b", "Ada-1/byte_former.v2", "a/" + "x" * 96])
def test_names_of_repositories(folder: Path, name: str) -> None:
    assert plan_push(PushRequest(folder, name)).request.repo_id == name


@pytest.mark.parametrize(
    "name", ["m", "a/b/c", "a/", "/b", "a/b c", "a/b--c", "a/b..c", "a/b.git", "a/-b", "a/ü", "a/" + "x" * 97, "a/b\n"]
)
def test_what_is_no_name_of_a_repository_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="USER/NAME"):
        plan_push(PushRequest(folder, name))


def test_a_pull_request_is_opened_against_main_only(folder: Path) -> None:
    with pytest.raises(UsageError, match="refs/pr/N"):
        plan_push(PushRequest(folder, "ada/m", create_pr=True, revision="v2"))


def test_a_name_that_looks_like_a_pattern_stands_for_itself_alone(folder: Path) -> None:
    (folder / "[a].txt").write_text("x")
    write_report(folder, parity={"verdict": "passed"})
    (folder / "a.txt").write_text("beside")
    assert plan_push(PushRequest(folder, "ada/m")).beside == ("a.txt",)


def test_a_request_does_not_show_its_token(folder: Path) -> None:
    request = PushRequest(folder, "ada/m", token="hf_secret")
    plan = plan_push(request)
    assert "hf_secret" not in repr(request) + repr(plan) + json.dumps(plan.to_dict())


@pytest.mark.parametrize("kind", sorted(WORDS))
def test_every_failure_has_a_message_and_a_next_step(kind: str) -> None:
    error = Fault(kind, "in their words.").error("ada/m")
    assert error.message.endswith("(in their words).")
    assert error.hint is not None
    assert error.hint.endswith((".", "HF_HUB_DISABLE_XET=1."))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "wrong token"),
        (403, "forbidden"),
        (412, "gone ahead"),
        (429, "rate limit"),
        (504, "server"),
        (418, "refused"),
    ],
)
def test_a_status_tells_the_failure(status: int, kind: str) -> None:
    assert kind_of_status(status) == kind


def test_a_report_that_lists_more_is_taken_at_its_word(folder: Path) -> None:
    (folder / "labels.txt").write_text("cat\n")
    write_report(folder, parity={"verdict": "passed"})
    assert "labels.txt" in {file.name for file in plan_push(PushRequest(folder, "ada/m")).files}
