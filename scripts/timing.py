"""What the benchmarks share: sides that take turns, a process of its own, a table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")


def in_turns(measures: dict[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each measure gives, once a round, so that a drift of the machine's speed meets all alike."""
    results: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def median_seconds(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Of each side, run in turns."""
    for run in sides.values():
        run()  # not counted: first touches, compilation
    measures = {name: lambda run=run: seconds_of(run) for name, run in sides.items()}
    return {name: statistics.median(seconds) for name, seconds in in_turns(measures, rounds).items()}


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alone(function: Callable[..., Any], *arguments: object) -> Any:
    """A function's result from a fresh process, whose peak of memory is its own, and leaves this one's as it is."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def print_head(names: list[str]) -> None:
    """The first two lines of a Markdown table."""
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
