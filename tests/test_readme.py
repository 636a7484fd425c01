"""README.md says what is so: its test line is what runs in CI, and its help text is the program's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
UPDATE_README = ROOT / "scripts" / "update_readme"
TEST_LINE = (
    'python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ".[dev]" && .venv/bin/python -m pytest'
)

# Stands in for python3 and, copied into .venv/bin, for what a virtual environment holds: notes how it was called.
STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in "-m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/pip && cp "$0" .venv/bin/python ;; esac
[ "$(basename "$0")" != "$FAILING" ]
"""


def ci_run(folder: Path, readme: str, failing: str = "nothing") -> tuple[int, list[str]]:
    """Runs .ci/run beside `readme` with stubs for Python; returns its exit code and the calls that it made."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    (folder / "README.md").write_text(readme, encoding="utf-8")
    (folder / "stubs").mkdir()
    stub = folder / "stubs" / "python3"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)
    log = folder / "log"
    log.touch()
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run([folder / ".ci" / "run"], env={"PATH": path, "LOG": str(log), "FAILING": failing})
    return result.returncode, log.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_test_line(readme: str) -> None:
    assert f"<!-- test:begin -->\n```bash\n{TEST_LINE}\n```\n<!-- test:end -->\n" in readme


def test_ci_runs_the_readmes_test_line_in_a_fresh_environment(readme: str, tmp_path: Path) -> None:
    stale = tmp_path / ".venv" / "stale"
    stale.mkdir(parents=True)
    code, calls = ci_run(tmp_path, readme)
    assert code == 0
    assert calls == ["python3 -m venv .venv", "pip install -c constraints.txt -e .[dev]", "python -m pytest"]
    assert not stale.exists()


@pytest.mark.parametrize("failing", ["python3", "pip", "python"])
def test_ci_fails_when_a_command_of_the_test_line_fails(readme: str, tmp_path: Path, failing: str) -> None:
    code, calls = ci_run(tmp_path, readme, failing)
    assert code != 0
    assert calls[-1].startswith(failing)


def test_ci_fails_when_the_readme_has_no_test_line(tmp_path: Path) -> None:
    assert ci_run(tmp_path, "# byteformer-convert\n") == (1, [])


@pytest.fixture(scope="module")
def update_readme() -> ModuleType:
    """scripts/update_readme as a module."""
    loader = SourceFileLoader("update_readme", str(UPDATE_README))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def app() -> typer.Typer:
    """A program with two commands, one of them hidden."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.callback()
    def root() -> None:
        """Read and write."""

    @app.command()
    def read(count: int = typer.Option(3, help="How many.")) -> None:
        """Read some."""

    @app.command(hidden=True)
    def secret() -> None:
        """Not for the README."""

    return app


def test_the_help_section_shows_every_command_that_is_not_hidden(update_readme: ModuleType, app: typer.Typer) -> None:
    section = update_readme.help_section(app)
    headings = [line for line in section.splitlines() if line.startswith("#")]
    assert headings == ["### `byteformer-convert`", "### `byteformer-convert read`"]
    assert "Usage: byteformer-convert read [OPTIONS]" in section
    assert "How many.  [default: 3]" in section
    assert "secret" not in section


def test_the_help_section_does_not_depend_on_the_terminal(
    update_readme: ModuleType, app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = update_readme.help_section(app)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert update_readme.help_section(app) == section


def test_a_new_section_replaces_the_old_one_and_touches_nothing_else(update_readme: ModuleType) -> None:
    once = update_readme.with_section("a\n<!-- help:begin -->\nold\n<!-- help:end -->\nb\n", "new")
    assert once == "a\n<!-- help:begin -->\n\nnew\n\n<!-- help:end -->\nb\n"
    assert update_readme.with_section(once, "new") == once


@pytest.mark.parametrize("text", ["", "<!-- help:begin -->", "<!-- help:end --><!-- help:begin -->"])
def test_a_readme_without_both_markers_is_refused(update_readme: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match="needs one"):
        update_readme.with_section(text, "new")


def test_the_readme_shows_the_current_help() -> None:
    command = [sys.executable, str(UPDATE_README), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
