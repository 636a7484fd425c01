"""What people install: the wheel's contents, its dependencies, and what starting the command costs them."""

from __future__ import annotations

import ast
import configparser
import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import byteformer_convert

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "byteformer_convert"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that pip would install, built from this checkout."""
    pytest.importorskip("hatchling", reason="the build backend comes with the dev extra")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (entry for entry in wheel.namelist() if entry.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def files_under(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file that git would keep."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_wheel_holds_the_package_and_the_configs_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    expected = {f"byteformer_convert/{name}": content for name, content in files_under(PACKAGE).items()}
    expected |= {
        f"byteformer_convert/configs/{name}": content for name, content in files_under(ROOT / "configs").items()
    }
    found = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}

    assert sorted(found) == sorted(expected)
    assert found == expected
    assert "byteformer_convert/py.typed" in found


def test_the_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(metadata(wheel, "entry_points.txt"))
    assert dict(entry_points["console_scripts"]) == {"byteformer-convert": "byteformer_convert.__main__:main"}


def test_the_wheel_says_version_python_and_licence(wheel: zipfile.ZipFile) -> None:
    fields = email.message_from_string(metadata(wheel, "METADATA"))
    assert fields["Name"] == "byteformer-convert"
    assert fields["Version"] == byteformer_convert.__version__
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["License-Expression"] == "Apache-2.0"
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def requirements() -> list[Requirement]:
    """Everything that the project asks for by name, extras included."""
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    declared = [Requirement(line) for line in [*PROJECT["dependencies"], *extras]]
    return [requirement for requirement in declared if requirement.name != PROJECT["name"]]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    pinned = constraints()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned, prereleases=True)


def imported_names(path: Path) -> set[str]:
    """The top-level packages that a module imports anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    taken = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.partition(".")[0] for name in plain | taken}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_imports_click_because_typer_carries_its_own(path: Path) -> None:
    assert "click" not in imported_names(path)


def modules_loaded_by(*arguments: str, folder: Path = ROOT) -> set[str]:
    """Every module that `byteformer-convert ARGUMENTS` imports, in a fresh process started in `folder`."""
    command = [sys.executable, "-X", "importtime", "-m", "byteformer_convert", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(re.findall(r"^import time:.*\| +(\S+)$", result.stderr, flags=re.MULTILINE))


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"]], ids=" ".join)
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    loaded = modules_loaded_by(*arguments)
    assert "typer" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "huggingface_hub", "safetensors", "numpy", "PIL"})


def test_the_command_starts_from_an_unpacked_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    assert "byteformer_convert.cli" in modules_loaded_by("--help", folder=tmp_path)


def test_imports_run_upwards_only() -> None:
    pytest.importorskip("importlinter", reason="import-linter comes with the dev extra")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_logo=True, no_cache=True))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
