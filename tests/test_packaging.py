"""What people install: the wheel's contents, its dependencies, and what starting the command costs them."""

from __future__ import annotations

import ast
import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import byteformer_convert

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "byteformer_convert"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


NOT_OURS = (".git", ".venv", ".environments", "demo-out", ".fuzz", ".*_cache", ".hypothesis")  # large, in a checkout
STRAYS = ("stray.pt", "notes.md", "tests/__pycache__/x.pyc", ".mypy_cache/x.json", "dist/old.whl", ".venv/pyvenv.cfg")


def build(target: str, source: Path, folder: Path) -> Path:
    pytest.importorskip("hatchling", reason="the build backend comes with the dev extra")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("byteformer_convert-*")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that pip would install, built from this checkout."""
    return zipfile.ZipFile(build("wheel", ROOT, tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built from a copy of this checkout with things lying about that are nobody's business."""
    copy = tmp_path_factory.mktemp("copy") / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_OURS, "__pycache__"))
    for name in STRAYS:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("stray")
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


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


def test_the_sdist_holds_what_the_tests_and_a_wheel_need_and_nothing_else(
    sdist: Path, wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    folders = (".ci", "byteformer_convert", "configs", "docs", "scripts", "tests")
    assert found == {f"{folder}/{name}" for folder in folders for name in files_under(ROOT / folder)} | {
        ".gitignore",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "constraints.txt",
        "pyproject.toml",
    }
    again = zipfile.ZipFile(build("wheel", root, tmp_path / "wheel"))
    assert {name: again.read(name) for name in again.namelist()} == {
        name: wheel.read(name) for name in wheel.namelist()
    }


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


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The paths of a fresh virtual environment where pip has installed this project; all else is shared with ours."""
    pytest.importorskip("pip", reason="not there in environments that uv makes")
    made = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=os.name != "nt")
    paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    (Path(paths["purelib"]) / "shared.pth").write_text(sysconfig.get_path("purelib"))
    command = [sys.executable, "-m", "pip", "--python", paths["scripts"] + "/python", "install", "--no-deps"]
    path = made if isinstance(made, Path) else Path(str(made.filename))
    subprocess.run([*command, "--no-index", "--no-build-isolation", path], check=True, capture_output=True, timeout=300)
    return paths


def run_in(installed: dict[str, str], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of that environment, or ours, somewhere where nothing of this checkout is on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *arguments],
        cwd=installed["data"],
        env=environment | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_pip_installs_every_file(installed: dict[str, str]) -> None:
    found = files_under(Path(installed["purelib"]) / "byteformer_convert")
    expected = files_under(PACKAGE) | {f"configs/{name}": text for name, text in files_under(ROOT / "configs").items()}
    assert found == expected
    assert {"py.typed", "data/imagenet.txt", "data/sample.jpg", "data/sample.wav"} < set(found)


def test_the_command_and_the_module_run_where_they_were_installed(installed: dict[str, str]) -> None:
    python, command = (f"{installed['scripts']}/{name}" for name in ("python", "byteformer-convert"))
    one, other = run_in(installed, python, "-m", "byteformer_convert", "--help"), run_in(installed, command, "--help")
    assert (one.returncode, other.returncode) == (0, 0), one.stderr + other.stderr
    assert "push-to-hub" in one.stdout
    assert one.stdout == other.stdout.replace("byteformer-convert [", "python -m byteformer_convert [")
    where = run_in(installed, python, "-c", "import byteformer_convert; print(byteformer_convert.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed["purelib"])


def test_pip_finds_all_that_it_needs(installed: dict[str, str]) -> None:
    result = run_in(installed, sys.executable, "-m", "pip", "--python", f"{installed['scripts']}/python", "check")
    assert not re.search("^byteformer-convert ", result.stdout, flags=re.MULTILINE), result.stdout
    assert "No broken requirements" in result.stdout or result.returncode == 1, result.stderr


def test_a_type_checker_sees_the_types_where_they_were_installed(installed: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    (tmp_path / "user.py").write_text("import byteformer_convert\n")
    options = [
        "--config-file=",
        "--follow-imports=skip",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]  # skip: in 1 s, not 30
    python = ["--python-executable", f"{installed['scripts']}/python"]
    result = run_in(installed, sys.executable, "-m", "mypy", *options, *python, str(tmp_path / "user.py"))
    assert result.stdout.startswith("Success"), result.stdout + result.stderr


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
