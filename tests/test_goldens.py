"""CoreNet's own outputs, through the written folder, in a process that knows nothing of this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from byteformer_convert.conversion import Request, convert
from byteformer_convert.parity.check import AUTO_CLASSES
from tests.tolerances import tolerance_of

if TYPE_CHECKING:
    from byteformer_convert.parity.fresh_process import FreshProcess
    from tests.golden_cases import GoldenCase


@pytest.mark.slow
def test_the_written_folder_computes_what_corenet_computed(
    golden_case: GoldenCase, fresh_process: FreshProcess, tmp_path: Path
) -> None:
    config, weights = tmp_path / "c.yaml", tmp_path / "w.pt"
    config.write_text(golden_case.yaml, encoding="utf-8")
    torch.save(golden_case.state_dict(), weights)
    folder = tmp_path / f"golden_{golden_case.name}"
    convert(Request(config=config, weights=weights, output=folder, skip_parity=True))
    auto_class = AUTO_CLASSES["audio" if "audio_classification" in golden_case.yaml else "image"]
    answer = fresh_process.start_logits(folder, {"golden": golden_case.ids()}, auto_class=auto_class)
    found = answer()["golden"]
    assert found.shape == golden_case.logits.shape
    assert float((found - golden_case.logits).abs().max()) <= tolerance_of(golden_case.name).logits
