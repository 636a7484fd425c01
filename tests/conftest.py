"""Fixtures that several parts of the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden_cases import GoldenCase, golden_cases

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="module", params=list(golden_cases()))
def golden_case(request: pytest.FixtureRequest) -> GoldenCase:
    """Every golden case in turn; `golden_cases()["sinusoidal"]` is a single one."""
    return golden_cases()[request.param]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of larger test data beside the checkout; tests that need it are skipped where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs the larger test data in ../shared")
    return SHARED
