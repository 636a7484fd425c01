"""The page: one file that loads nothing, with a verdict, plots that show the numbers, and text that cannot break it."""

from __future__ import annotations

import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from byteformer_convert.cli import app
from byteformer_convert.conversion import Request, convert
from byteformer_convert.corenet.options import load_options
from byteformer_convert.demo import generated_weights
from byteformer_convert.errors import UsageError
from byteformer_convert.inspection import TensorFamily
from byteformer_convert.parity.result import CaseResult, Detail, ParityReport, StageResult, WeightsResult
from byteformer_convert.report import plots
from byteformer_convert.report.page import Page, page_html, write_page

STAGES = (
    StageResult("embeddings", 0.0, 1e-5, 1e-7),
    StageResult("transformer.0", 3e-6, 1e-5, 1e-6),
    StageResult("downsamplers.downsample_0", 2e-3, 1e-5, 1e-6),
)
LOGITS = {"typical": (np.array([[1.0, 2.0]]), np.array([[1.0, 2.5]]))}
REPORT = ParityReport(
    "passed",
    2e-5,
    weights=WeightsResult(169),
    cases=(CaseResult("typical", "one file", (1026,), 3e-7, 2e-5, 2e-7, same_class=True),),
    left_out=("something else",),
    detail=Detail("typical", STAGES, LOGITS),
)
PAGE = Page(
    subject="a<b>&folder",
    parity=REPORT,
    families=(TensorFamily("classifier.{p}", (), (10, 192), 1920, ("classifier.{p}",), "as it is"),),
    facts=(("libraries", "torch 2"),),
    notes=("a note",),
)
YAML = """
dataset: {category: classification}
model:
  classification:
    name: byteformer
    n_classes: 3
    byteformer: {max_num_tokens: 20, conv_kernel_size: 4, window_sizes: [8], window_shifts: [0,4,0,4,0,4,0,4,0,4,0,4]}
  activation: {name: gelu}
"""


class Reader(HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href") and value and value[0] != "#"
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def with_plots() -> None:
    pytest.importorskip("matplotlib", reason="the plots need the extra html")


def svg_of(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


@pytest.mark.usefixtures("with_plots")
def test_the_page_loads_nothing_from_elsewhere() -> None:
    reader = Reader(page_html(PAGE))
    assert [address for address in reader.loads if not address.startswith("data:image/png")] == []
    assert not {"script", "link", "iframe", "img"} & set(reader.tags)
    assert reader.tags.count("svg") == 2


@pytest.mark.usefixtures("with_plots")
def test_the_page_says_what_was_found() -> None:
    text = Reader(page_html(PAGE)).text
    for words in ("Parity holds", "All 169 tensors", "3.0e-07", "one file", "Not tried: something else.", "a note"):
        assert words in text
    assert "classifier.{p}" in text
    assert "torch 2" in text


@pytest.mark.usefixtures("with_plots")
def test_names_from_outside_are_text_not_markup() -> None:
    page = page_html(PAGE)
    assert "a&lt;b&gt;&amp;folder" in page
    assert "<b>" not in page


@pytest.mark.usefixtures("with_plots")
def test_the_same_numbers_give_the_same_bytes() -> None:
    assert page_html(PAGE) == page_html(PAGE)


def test_a_failure_and_a_skipped_check_say_so() -> None:
    failed = replace(PAGE, parity=replace(REPORT, verdict="failed", detail=None), failure="logits differ by 1")
    assert "Parity does not hold" in page_html(failed)
    assert "logits differ by 1" in page_html(failed)
    assert 'class="verdict failed"' in page_html(failed)
    skipped = replace(PAGE, parity=ParityReport("skipped", 2e-5))
    assert "Parity was not checked" in page_html(skipped)
    assert "There is nothing to plot." in page_html(skipped)


@pytest.mark.usefixtures("with_plots")
def test_a_config_that_differs_is_no_pass_even_where_numbers_are_equal() -> None:
    assert 'class="verdict failed"' in page_html(replace(PAGE, failure="config.json says so"))


@pytest.mark.usefixtures("with_plots")
def test_the_stage_plot_names_every_stage_and_paints_a_failing_one_red() -> None:
    text = plots.stages_svg(REPORT.detail)  # type: ignore[arg-type]
    svg_of(text)
    for name in ("embeddings", "transformer.0", "downsample_0", "noise floor", "allowed"):
        assert name in text
    assert plots.RED in text
    fine = replace(REPORT.detail, stages=STAGES[:2])  # type: ignore[type-var]
    assert plots.RED not in plots.stages_svg(fine)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")  # those are between matplotlib and pyparsing
@pytest.mark.usefixtures("with_plots")
@pytest.mark.parametrize("difference", [0.0, float("inf"), float("nan")])
def test_a_difference_that_a_logarithm_cannot_show_breaks_nothing(difference: float) -> None:
    stages = tuple(StageResult(f"transformer.{i}", difference, 1e-5, 0.0) for i in range(3))
    text = plots.stages_svg(Detail("typical", stages, {}))
    svg_of(text)
    assert (plots.RED in text) == (difference != 0)


@pytest.mark.usefixtures("with_plots")
def test_logits_of_another_shape_are_left_out_of_the_plot() -> None:
    svg_of(plots.logits_svg(Detail("typical", STAGES, {"odd": (np.zeros((1, 2)), np.zeros((1, 3)))})))


def test_without_matplotlib_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs matplotlib") as caught:
        plots.require_plotting()
    assert "byteformer-convert[html]" in str(caught.value.hint)


def test_a_page_that_is_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    write_page(replace(PAGE, parity=ParityReport("skipped", 2e-5)), path)
    assert path.read_text().startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.slow
@pytest.mark.usefixtures("with_plots")
def test_convert_and_verify_write_a_page_and_the_folder_stays_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    weights, config = tmp_path / "a.pt", tmp_path / "a.yaml"
    torch.save(generated_weights(load_options(config), 0), weights)
    source = ["--config", str(config), "--weights", str(weights)]
    page = tmp_path / "page.html"
    command = ["convert", *source, "--output", str(tmp_path / "with"), "--html", str(page)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    reader = Reader(page.read_text())
    assert "Parity holds" in reader.text
    assert "post_transformer_norm" in reader.text
    assert "a.pt" in reader.text

    convert(Request(weights, tmp_path / "without", config))
    for file in (tmp_path / "without").iterdir():
        assert file.read_bytes() == (tmp_path / "with" / file.name).read_bytes(), file.name

    state = torch.load(weights)
    state["classifier.bias"] += 1
    torch.save(state, weights)
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "with"), *source, "--html", str(page)])
    assert result.exit_code == 4, result.output
    text = Reader(page.read_text()).text
    assert "Parity does not hold" in text
    assert "classifier.bias" in text
