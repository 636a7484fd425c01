"""torch.export and ONNX: one program for every batch and length, the axis-1 rule of the norms included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from tests.worlds import make_ids, make_model

TOLERANCE = 1e-5  # seen 4e-7; other kernels sum in another order
MASKED = {"mask_padding": True, "mask_shifted_windows": True}
# Eight channels: with 32 to 35 bytes eight tokens reach the merge's norm and the last one.
SHAPES = [(1, 8), (3, 31), (2, 32), (1, 34), (2, 35), (2, 36), (5, 60), (1, 101), (64, 20)]


def ids_of(shape: tuple[int, int]) -> torch.Tensor:
    """One row in full, the others padded."""
    rows, length = shape
    return make_ids(length, *[length // 2 + 2] * (rows - 1))


@pytest.mark.slow
@pytest.mark.parametrize("switches", [{}, MASKED], ids=["corenet", "masked"])
def test_exported_programs_compute_the_same(switches: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(**switches)
    example = {"input_ids": make_ids(61, 50)}
    anything = torch.export.Dim.DYNAMIC
    program = torch.export.export(model, (), example, dynamic_shapes={"input_ids": {0: anything, 1: anything}})
    torch.onnx.export(
        model,
        (),
        str(tmp_path / "model.onnx"),
        kwargs=example,
        dynamic_shapes={"input_ids": {0: "files", 1: "bytes"}},
        dynamo=True,
        input_names=["input_ids"],
        output_names=["logits"],
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    exported = program.module(check_guards=False)
    for shape in SHAPES:
        ids = ids_of(shape)
        with torch.no_grad():
            wanted = model(input_ids=ids).logits.numpy()
            found = exported(input_ids=ids)["logits"].numpy()
        assert np.abs(found - wanted).max() < TOLERANCE, shape
        assert np.abs(session.run(["logits"], {"input_ids": ids.numpy()})[0] - wanted).max() < TOLERANCE, shape


@pytest.mark.slow
def test_a_program_of_full_size_takes_every_length() -> None:
    # Twelve layers with their six merges; the example fills several windows of each, so that none is taken for one.
    model = make_model(
        hidden_size=16,
        num_hidden_layers=12,
        window_sizes=128,
        window_shifts=None,
        downsample=None,
        conv_kernel_size=4,
        max_position_embeddings=20_000,
    )
    anything = torch.export.Dim.DYNAMIC
    example = {"input_ids": make_ids(40_000, 30_000)}
    program = torch.export.export(model, (), example, dynamic_shapes={"input_ids": {0: anything, 1: anything}})
    exported = program.module(check_guards=False)
    for shape in [(1, 100), (3, 770), (2, 3_001), (1, 24_500), (1, 39_999)]:
        ids = ids_of(shape)
        with torch.no_grad():
            difference = exported(input_ids=ids)["logits"] - model(input_ids=ids).logits
        assert float(difference.abs().max()) < TOLERANCE, shape


class Logits(torch.nn.Module):
    """What torch.jit.trace takes: a tensor, not a dictionary, comes out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(ids).logits
        return logits


@torch.no_grad()
def test_a_trace_holds_public_operators_alone() -> None:
    model, ids = make_model(), make_ids(40)
    traced = torch.jit.trace(Logits(model), ids, check_trace=False)
    assert "mkldnn" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(ids), model(ids).logits, rtol=0, atol=TOLERANCE)
