"""One self-contained page on a check: verdict, plots, tables, environment. It loads nothing from elsewhere."""

from __future__ import annotations

import html
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from byteformer_convert.output.placed_files import placed_files
from byteformer_convert.report.tables import layer_ranges, shape_text

if TYPE_CHECKING:
    from byteformer_convert.inspection import TensorFamily
    from byteformer_convert.parity.result import ParityReport

VERDICTS = {
    "passed": "Parity holds",
    "failed": "Parity does not hold",
    "skipped": "Parity was not checked",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows.

    Attributes:
        subject: The folder's name.
        parity: With its detail, for the plots.
        families: The mapping, folded over layers.
        facts: Pairs of what and value: sources, versions, the machine.
        failure: Why it failed, one sentence; None where it did not.
        notes: Sentences that a person should read.
    """

    subject: str
    parity: ParityReport
    families: Sequence[TensorFamily]
    facts: Sequence[tuple[str, str]]
    failure: str | None = None
    notes: Sequence[str] = ()


def write_page(page: Page, path: Path) -> None:
    """Writes the page; one that is there is replaced.

    Raises:
        OutputError: It cannot be written.
    """
    with placed_files([path], force=True) as (staged,):
        staged.write_text(page_html(page), encoding="utf-8", errors="backslashreplace")


def page_html(page: Page) -> str:
    """The whole document."""
    template = Template(resources.files("byteformer_convert.report").joinpath("page.html").read_text(encoding="utf-8"))
    passed = page.parity.verdict == "passed" and page.failure is None
    verdict = "failed" if page.failure is not None else page.parity.verdict
    return template.substitute(
        subject=_escaped(page.subject),
        state="passed" if passed else verdict,
        verdict=VERDICTS[verdict],
        sentence=_escaped(page.failure or _sentence(page.parity)),
        cases=_cases(page.parity),
        plots=_plots(page.parity),
        notes=_list([*page.notes, *(f"Not tried: {sentence}." for sentence in page.parity.left_out)]),
        families=_families(page.families),
        facts=_table(("", ""), [(name, value) for name, value in page.facts]),
    )


def machine_facts(versions: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where and with what the check ran."""
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        ("libraries", libraries),
        ("Python", platform.python_version()),
        ("machine", f"{platform.system()} {platform.machine()}"),
    ]


def _sentence(parity: ParityReport) -> str:
    if parity.weights is None or parity.worst is None:
        return "Nothing shows that the folder computes what CoreNet computes."
    return (
        f"All {parity.weights.tensors} tensors equal the checkpoint's bit for bit. The largest difference of a logit "
        f"is {max(case.max_difference for case in parity.cases):.1e}, over {len(parity.cases)} inputs."
    )


def _cases(parity: ParityReport) -> str:
    head = ("input", "what for", "bytes", "difference", "allowed", "noise floor", "")
    rows = [
        (
            case.name,
            case.why,
            ", ".join(f"{length:,}" for length in case.lengths),
            f"{case.max_difference:.1e}",
            f"{case.tolerance:.1e}",
            f"{case.noise_floor:.1e}",
            "ok" if case.passed else "fails",
        )
        for case in parity.cases
    ]
    return _table(head, rows, numbers=(2, 3, 4, 5))


def _plots(parity: ParityReport) -> str:
    if parity.detail is None:
        return "<p>There is nothing to plot.</p>"
    from byteformer_convert.report.plots import logits_svg, stages_svg

    return (
        f"<figure>{stages_svg(parity.detail)}<figcaption>Each stage alone, the same tensor going into the folder's and "
        f"into CoreNet's arithmetic (input: {_escaped(parity.detail.case)}). The noise floor is how far float32 itself "
        "is from float64. A stage without a mark differs by nothing at all.</figcaption></figure>"
        f"<figure>{logits_svg(parity.detail)}<figcaption>Every logit of every input: the folder's against the "
        "reference's, and by how much they differ.</figcaption></figure>"
    )


def _families(families: Sequence[TensorFamily]) -> str:
    head = ("CoreNet", "layers", "shape", "parameters", "folder", "how")
    rows = [
        (
            family.name,
            layer_ranges(family.layers),
            shape_text(family.shape),
            f"{family.parameters:,}",
            ", ".join(family.targets),
            family.how,
        )
        for family in families
    ]
    return _table(head, rows, numbers=(3,))


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    header = f"<thead>{_row('th', head, numbers)}</thead>" if any(head) else ""
    body = "".join(_row("td", row, numbers) for row in rows)
    return f'<div class="wide"><table>{header}<tbody>{body}</tbody></table></div>'


def _row(tag: str, values: Sequence[object], numbers: Sequence[int]) -> str:
    cells = (
        f'<{tag} class="number">{_escaped(value)}</{tag}>'
        if index in numbers
        else f"<{tag}>{_breakable(value)}</{tag}>"
        for index, value in enumerate(values)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _breakable(value: object) -> str:
    """A long dotted name may go on in the next line after any of its dots."""
    return _escaped(value).replace(".", ".<wbr>")


def _list(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{_escaped(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _escaped(value: object) -> str:
    return html.escape(str(value))
