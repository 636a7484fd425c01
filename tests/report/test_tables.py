"""What people read: whole names at 80 columns, and nothing in a name taken for markup."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from byteformer_convert.batch.convert_entry import Outcome
from byteformer_convert.batch.run import Batch
from byteformer_convert.corenet.state_dict import Mismatch
from byteformer_convert.errors import OutputError
from byteformer_convert.inspection import inspect
from byteformer_convert.output.folder import FileRecord
from byteformer_convert.parity.result import CaseResult, ParityReport, StageResult, WeightsResult
from byteformer_convert.report import Reporter
from byteformer_convert.report.batch import draw_batch
from byteformer_convert.report.console import SentenceConsole
from byteformer_convert.report.stream import Stream
from byteformer_convert.report.tables import (
    class_table,
    draw_parity,
    family_table,
    file_table,
    layer_ranges,
    mismatch_table,
    shape_text,
)
from tests.small_world import write_yaml


def drawn(thing: Any, width: int = 80) -> str:
    console = SentenceConsole(file=io.StringIO(), width=width, emoji=False, highlight=False)
    if isinstance(thing, ParityReport):
        draw_parity(thing, console)
    else:
        console.print(thing)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_no_name_of_the_parameter_table_is_broken(tmp_path: Path, width: int) -> None:
    result = inspect(config=write_yaml(tmp_path / "c.yaml", max_num_tokens=50000))
    text = drawn(family_table(result.families), width)
    words = text.split()
    assert all(family.name in words for family in result.families)
    assert all(f"{family.parameters:,}" in words for family in result.families)
    assert "rearranged" in words
    assert "….layers.{i}.attention.{q,k,v}_proj.weight" in words
    assert "….layers.{i}.token_merging.reduction.weight" in words
    assert "1×1×50000×192" in words
    assert "0-1, 3, 5, 7, 9" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_tensor_that_goes_nowhere_says_so() -> None:
    from byteformer_convert.inspection import families

    text = drawn(family_table(families({"[bold]": (3,)})))
    assert "[bold]" in text
    assert "none" in text.split()


def test_a_mismatch_is_a_block_with_its_cause() -> None:
    mismatch = Mismatch("shape", "transformer.{i}.pre_norm_mha.1.qkv_proj.weight", (0, 1, 5), (3, 2), (3, 4), "[why]")
    text = drawn(mismatch_table([mismatch]))
    assert "transformer.{i}.pre_norm_mha.1.qkv_proj.weight  layers 0-1, 5" in text
    assert "expected 3×2, found 3×4" in text
    assert "[why]" in text
    assert "found 3×4" in drawn(mismatch_table([Mismatch("unknown", "x", (), None, (3, 4), "why")]))


def test_cases_show_numbers_and_what_fails() -> None:
    cases = (
        CaseResult("typical", "why", (3002,), 7.2e-7, 2e-5, 5e-7, same_class=True),
        CaseResult("padded batch", "why", (602, 242, 4), float("nan"), 2e-5, 5e-7, same_class=True),
    )
    text = drawn(ParityReport("failed", 2e-5, weights=WeightsResult(169, (("a", 1),)), cases=cases))
    assert "Weights: 168 of 169 tensors equal bit for bit." in text
    lines = text.splitlines()
    assert any("3,002" in line and "7.2e-07" in line and "ok" in line for line in lines)
    assert any("602, 242, 4" in line and "nan" in line and "FAILS" in line for line in lines)


def test_stages_are_a_table_where_they_fail_and_a_sentence_where_they_pass() -> None:
    good, bad = StageResult("embeddings", 0.0, 1e-5), StageResult("transformer.0", 1.0, 1e-5)
    text = drawn(ParityReport("failed", 2e-5, stages=(good, bad)))
    assert any("transformer.0" in line and "FAILS" in line for line in text.splitlines())
    text = drawn(ParityReport("passed", 2e-5, stages=(good,)), 200)
    assert "all 1 are within their tolerance" in text
    assert "embeddings" not in text


def test_a_skipped_check_draws_nothing() -> None:
    assert drawn(ParityReport("skipped", 2e-5)) == ""


def test_half_precision_says_what_it_does() -> None:
    report = ParityReport("passed", 2e-5, "float16", dtype_effect=3e-3)
    assert "Computing in float16 moves logits by at most 3.0e-03." in drawn(report)


def test_files_and_classes() -> None:
    assert "1,234" in drawn(file_table([FileRecord("[a]:smile:", 1234, "0" * 64)]))
    assert "[a]:smile:" in drawn(file_table([FileRecord("[a]:smile:", 1234, "0" * 64)]))
    assert drawn(class_table([("[cat]", 0.5)])).split() == ["[cat]", "50.0%", "█" * 15]


@pytest.mark.parametrize(
    ("layers", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 5), "0-2, 5"), ((5, 4, 9), "4-5, 9"), (range(12), "0-11")]
)
def test_layers_fold_into_ranges(layers: Any, text: str) -> None:
    assert layer_ranges(layers) == text


def test_shapes_are_written_without_spaces() -> None:
    assert shape_text((192, 384)) == "192×384"
    assert shape_text(None) == ""


# --- streams ---


class Gone(io.StringIO):
    """A pipe that nobody reads any longer, or a disk that is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


def test_a_reader_who_leaves_early_is_no_error() -> None:
    stream = Stream(Gone(BrokenPipeError()), "standard output")
    assert stream.write("abc") == 3
    assert stream.write("abc") == 3
    stream.flush()


def test_a_closed_stream_takes_everything() -> None:
    stream = Stream(None, "standard output")
    assert stream.write("abc") == 3
    stream.flush()
    SentenceConsole(file=stream).print("abc")  # type: ignore[arg-type]


def test_a_full_disk_is_an_output_error_once() -> None:
    stream = Stream(Gone(OSError(28, os.strerror(28))), "standard output")
    with pytest.raises(OutputError, match="No space left on device") as caught:
        stream.write("abc")
    assert caught.value.where == "standard output"
    assert stream.write("the error's document") == 20


def test_nobody_is_told_that_standard_error_cannot_be_written() -> None:
    assert Stream(Gone(OSError(28, "full"))).write("abc") == 3


def test_letters_that_an_encoding_lacks_are_escaped() -> None:
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding="ascii"), "standard output")
    stream.write("中×")
    stream.flush()
    assert raw.getvalue() == b"\\u4e2d\\xd7"


def test_a_document_has_a_version_and_errors_are_documents_too(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(as_json=True).error(OutputError("is there already.", where="[out]", hint="Choose."))
    out, err = capsys.readouterr()
    assert '"schema_version": 1' in out
    assert '"exit_code": 5' in out
    assert err == "error: [out]: is there already.\nChoose.\n"


def test_a_batch_says_what_was_not_pushed(capsys: pytest.CaptureFixture[str]) -> None:
    refused = {"kind": "hub", "message": "not allowed."}
    outcomes = (
        Outcome("a", "converted", 6, error=refused),
        Outcome("b", "skipped", 6, error=refused),
        Outcome("c", "failed", 3, error=refused),
        Outcome("d", "converted"),
    )
    draw_batch(Reporter(), Batch("m.yaml", "0", None, outcomes, False, Path("out/batch_report.json")))
    assert "2 converted, 1 skipped, 1 failed, 2 not pushed. Report:" in capsys.readouterr().out
