"""torch.compile takes the whole model as one graph, whatever the length, the switches and the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from byteformer_convert.bundled import inference_byteformer as inference
from tests.worlds import make_ids, make_model

SWITCHES = [
    {},
    {"mask_padding": True},
    {"mask_shifted_windows": True},
    {"last_axis_layer_norm": True},
    {"mask_padding": True, "mask_shifted_windows": True, "last_axis_layer_norm": True},
]


@pytest.fixture(autouse=True)
def no_graphs_left() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("lengths", [(34,), (30, 17)])  # 34 bytes meet the norm's axis rule
def test_the_forward_pass_is_one_graph(switches: dict[str, Any], lengths: tuple[int, ...]) -> None:
    model = make_model(**switches)
    assert_same(torch.compile(model, fullgraph=True, backend="eager", dynamic=False), model, lengths)


@pytest.mark.slow
@pytest.mark.parametrize("switches", [SWITCHES[0], SWITCHES[-1]])
def test_the_forward_pass_is_one_graph_when_lengths_change(switches: dict[str, Any]) -> None:
    model = make_model(**switches)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for lengths in [(30, 17), (66, 50)]:
        assert_same(compiled, model, lengths)


@torch.no_grad()
def assert_same(compiled: Any, model: Any, lengths: tuple[int, ...]) -> None:
    inputs = {"input_ids": make_ids(*lengths), "labels": torch.zeros(len(lengths), dtype=torch.long)}
    ours, expected = compiled(**inputs), model(**inputs)
    torch.testing.assert_close((ours.logits, ours.loss), (expected.logits, expected.loss))
    torch.testing.assert_close(compiled(inputs["input_ids"]).logits, expected.logits)


def test_a_training_step_is_one_graph() -> None:
    gradients = []
    for backend in (None, "aot_eager"):
        model = make_model().train()
        run = torch.compile(model, fullgraph=True, backend=backend) if backend else model
        run(make_ids(30, 17), labels=torch.tensor([1, 2])).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.skipif(not inference.HAS_FUSED_LINEAR, reason="this torch has no oneDNN linear with what follows it")
def test_compiled_inference_calls_the_operators_of_the_eager_one_and_packs_weights_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = []

    def counted(*weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        packed.append(weights)
        return weights

    monkeypatch.setattr(inference.PACKED_WEIGHTS, "_make", counted)
    monkeypatch.setattr(inference, "GROUP_ENTRIES", 0)  # one window a group, so that there are several
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model, ids = make_model(), make_ids(50, 41)
    compiled = torch.compile(model, fullgraph=True, backend=backend, dynamic=False)
    with torch.no_grad():
        eager = model(ids).logits
        before = len(packed)
        for _ in range(2):
            assert torch.equal(compiled(ids).logits, eager)
        assert len(packed) == before > 0
        model.byteformer.layers[0].mlp.fc1.weight.data.mul_(-2)
        assert torch.equal(compiled(ids).logits, model(ids).logits)
        assert not torch.equal(compiled(ids).logits, eager)
    (graph,) = graphs
    called = [str(node.target) for node in graph.graph.nodes]
    assert sum("fused_layer" in name for name in called) == len(model.byteformer.layers)
    assert sum("look_up_tokens" in name for name in called) == 1


@pytest.mark.slow
def test_inductor_computes_the_same() -> None:
    model = make_model()
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    for lengths in [(30, 17), (66, 50)]:
        ids = make_ids(*lengths)
        with torch.no_grad():
            torch.testing.assert_close(compiled(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-5)
