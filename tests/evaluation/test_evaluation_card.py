"""Measured numbers in the folder's card: readable by the Hub's client, beside others' numbers, sums still right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from byteformer_convert.errors import FolderError, OutputError
from byteformer_convert.evaluation import card as card_module
from byteformer_convert.evaluation.card import command, measurement, with_measurement, write_to_card
from byteformer_convert.evaluation.request import EvaluationRequest
from byteformer_convert.evaluation.result import ArithmeticScore, Evaluation, Mean, Share
from byteformer_convert.output.folder_check import check_folder
from tests.folders import make_folder
from tests.small_world import contents

REQUEST = EvaluationRequest(Path("/home/me/model"), Path("/data/secret place/val"), raw=True, batch_size=40)
PAPER = {
    "task": {"type": "image-classification"},
    "dataset": {"name": "val", "type": "val"},
    "metrics": [{"type": "accuracy", "value": 62.43}],
    "source": {"name": "the paper", "url": "https://arxiv.org/abs/2306.00238"},
}


def evaluation(right: int = 380) -> Evaluation:
    score = ArithmeticScore("faithful", (), Share(right, 400), Share(399, 400), Mean(0.24, 0.05), Share(0, 0), (), ())
    return Evaluation(
        "model", "val", "class folders", 401, "batches of 40 in file order", True, 40, True, "by name", None, (score,),
        (), 1, (),
    )  # fmt: skip


def results(card: str) -> list[dict[str, Any]]:
    index = ModelCard(card, ignore_metadata_errors=False).data.to_dict()["model-index"]
    return list(index[0]["results"])


def with_paper() -> str:
    return with_measurement("---\ntags: [x]\n---\n\n# M\n\n## Provenance\n\nFrom.\n", PAPER, "m")


def test_the_hubs_client_reads_what_was_measured_on_what_and_how(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    write_to_card(folder, "image", evaluation(), REQUEST)
    top1, top5 = ModelCard.load(folder / "README.md").data.eval_results or ()
    assert (top1.metric_value, top5.metric_value) == (95.0, 99.75)
    assert top1.dataset_name == "val"
    assert top1.dataset_args["scored"] == 400
    assert top1.metric_args["tool"].startswith("byteformer-convert ")
    assert top1.metric_args["command"] == "byteformer-convert evaluate model --data val --raw --batch-size 40"
    assert "measured by byteformer-convert" in str(top1.metric_name)


def test_the_folder_stays_whole_and_its_report_right(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    before = contents(folder)
    write_to_card(folder, "image", evaluation(), REQUEST)
    after = contents(folder)
    assert check_folder(folder).problems == ()
    assert {name for name in before if before[name] != after[name]} == {"README.md", "conversion_report.json"}
    assert before.keys() == after.keys()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_text_says_it_once_however_often_it_is_measured() -> None:
    once = with_measurement(with_paper(), measurement("image", evaluation(), REQUEST), "m")
    again = with_measurement(once, measurement("image", evaluation(390), REQUEST), "m")
    assert again.count("## Measured accuracy") == 1
    assert "top-1 97.50 % (95.46 to 98.64)" in again
    assert "95.00 %" not in again
    assert again.index("## Measured accuracy") < again.index("## Provenance")
    assert with_measurement(again, measurement("image", evaluation(390), REQUEST), "m") == again


def test_numbers_of_others_and_of_other_commands_stay() -> None:
    card = with_measurement(with_paper(), measurement("image", evaluation(), REQUEST), "m")
    card = with_measurement(card, measurement("image", evaluation(), replace(REQUEST, padded=False)), "m")
    paper, *ours = results(card)
    assert paper["metrics"][0]["value"] == 62.43
    assert paper["source"]["name"] == "the paper"
    assert len(ours) == 2
    assert not any("source" in one for one in ours)
    assert card.count("- **val**") == 2
    assert "62.43" not in card.partition("## Measured accuracy")[2]


def test_the_command_has_what_changes_numbers_and_no_path_of_this_machine() -> None:
    request = replace(
        REQUEST, padded=False, mixed_precision="bf16", limit=7, seed=3, compare="mask_padding", class_order="labels",
        split="test", journal=Path("/home/me/j"), workers=9,
    )  # fmt: skip
    assert command(request) == (
        "byteformer-convert evaluate model --data val --split test --raw --class-order labels --batch-size 40 "
        "--unpadded --mixed-precision bf16 --limit 7 --seed 3 --compare mask_padding"
    )


def test_a_failure_halfway_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path)
    before = contents(folder)

    def full(path: Path, content: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(card_module, "write_json", full)
    with pytest.raises(OutputError, match="No space left"):
        write_to_card(folder, "image", evaluation(), REQUEST)
    assert contents(folder) == before


def test_a_card_without_metadata_is_an_error_that_changes_nothing(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "README.md").write_text("# mine\n", encoding="utf-8")
    before = contents(folder)
    with pytest.raises(FolderError, match="no metadata"):
        write_to_card(folder, "image", evaluation(), REQUEST)
    assert contents(folder) == before
