"""Plots of a check as SVG text, drawn by matplotlib (the extra `html`)."""

from __future__ import annotations

import importlib.util
import io
import math
from typing import TYPE_CHECKING, Any

from byteformer_convert.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from byteformer_convert.parity.result import Detail

BLUE, GREY, RED = "#1f6fb4", "#8a94a0", "#c0392b"
LEAST = 1e-12  # what a logarithm can show of a difference of nothing
SETTINGS: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "byteformer-convert",  # the same numbers give the same ids
}


def require_plotting() -> None:
    """Looks for matplotlib before any work is done.

    Raises:
        UsageError: It is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "--html needs matplotlib, which is not installed.",
            hint="Install it with: pip install 'byteformer-convert[html]'",
        )


def stages_svg(detail: Detail) -> str:
    """Each stage's difference, its noise floor and its tolerance, on a logarithmic scale."""
    figure, axes = _figure(9, 4)
    stages = detail.stages
    places = range(len(stages))
    axes.plot(places, _shown([stage.tolerance for stage in stages]), color=GREY, lw=1, ls="--", label="allowed")
    floors = _shown([stage.noise_floor for stage in stages])
    bottom = min((floor for floor in floors if math.isfinite(floor)), default=LEAST) / 30
    axes.fill_between(places, floors, bottom, color=GREY, alpha=0.25, lw=0, label="noise floor")
    top = 1e3 * max(stage.tolerance for stage in stages)  # where what is no number stands: far above, and red
    differences = _shown([stage.max_difference if math.isfinite(stage.max_difference) else top for stage in stages])
    colours = [BLUE if stage.passed else RED for stage in stages]
    axes.scatter(places, differences, c=colours, s=22, zorder=3, label="difference")
    axes.set_yscale("log")
    names = [stage.stage.removeprefix("downsamplers.") for stage in stages]
    axes.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(stages) - 0.4)
    axes.set_ylabel("largest difference")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return _svg(figure)


def logits_svg(detail: Detail) -> str:
    """The folder's logits against the reference's, and the difference of each; one colour an input."""
    figure, (against, difference) = _figure(9, 3.6, columns=2)
    for name, (found, wanted) in detail.logits.items():
        if found.shape != wanted.shape:
            continue
        # As pixels: thousands of points as shapes would make a page of megabytes.
        against.scatter(wanted, found, s=5, alpha=0.6, lw=0, label=name, rasterized=True)
        difference.scatter(wanted, found - wanted, s=5, alpha=0.6, lw=0, rasterized=True)
    against.axline((0, 0), slope=1, color=GREY, lw=0.8, zorder=0)
    difference.axhline(0, color=GREY, lw=0.8, zorder=0)
    against.set(xlabel="logit of the reference", ylabel="logit of the folder")
    difference.set(xlabel="logit of the reference", ylabel="folder − reference")
    difference.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    handles = against.get_legend_handles_labels()
    figure.legend(*handles, frameon=False, ncols=6, loc="outside upper center", markerscale=3)
    return _svg(figure)


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=150)  # no pyplot: no display, no state
        return figure, figure.subplots(1, columns)


def _shown(values: list[float]) -> np.ndarray:
    """Fit for a logarithmic axis: nothing at all is left out, and what is not finite, too."""
    import numpy as np

    array = np.array(values, dtype=float)
    return np.where(np.isfinite(array) & (array > LEAST), array, np.nan)


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    document = text.getvalue()
    return document[document.index("<svg") :]
