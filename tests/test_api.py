"""`byteformer_convert.convert` and its like: what the commands do, for scripts. Importing it costs nothing."""

from __future__ import annotations

import ast
import dataclasses
import inspect as signatures
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

import byteformer_convert
from byteformer_convert import api, cli, errors
from tests.folders import make_folder, write_photo
from tests.test_readme_examples import block_with

if TYPE_CHECKING:
    from byteformer_convert import Conversion
    from byteformer_convert.parity.fresh_process import FreshProcess

FUNCTIONS = ("convert", "inspect", "predict", "verify")
DRAWING = {"as_json", "quiet", "html", "help"}
EXAMPLE = block_with("python", "byteformer_convert.convert(")


@pytest.fixture(scope="module")
def converted(small_world: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    config, weights = small_world
    output = tmp_path_factory.mktemp("api") / "folder"
    return byteformer_convert.convert(output, weights=weights, config=config, skip_parity=True)


def fresh(code: str) -> str:
    """What a new interpreter prints that runs the code."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_package_loads_nothing_and_a_function_no_heavy_library() -> None:
    code = (
        "import sys, byteformer_convert as b; print(*(m for m in sys.modules if m.startswith('byteformer_convert.')))\n"
        "b.convert, b.verify, b.inspect, b.predict, b.CheckpointError\n"
        "print(*sorted({'torch', 'transformers', 'numpy', 'safetensors', 'PIL', 'typer'} & set(sys.modules)))"
    )
    assert fresh(code) == "\n\n"


def test_every_public_name_is_offered_by_the_package_to_people_and_to_type_checkers() -> None:
    names = {*api.__all__, "__version__"}
    tree = ast.parse(Path(byteformer_convert.__file__).read_text(encoding="utf-8"))
    typed = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert sorted(names) == sorted(byteformer_convert.__all__) == byteformer_convert.__all__
    assert typed - {"TYPE_CHECKING", "import_module"} == set(api.__all__)
    assert names <= set(dir(byteformer_convert))
    assert all(getattr(byteformer_convert, name) is getattr(api, name) for name in api.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'byteformer_convert' has no attribute 'konvert'"):
        byteformer_convert.konvert  # type: ignore[attr-defined]  # noqa: B018


def test_no_module_has_the_name_of_a_function_which_importing_it_would_hide() -> None:
    modules = {module.name for module in pkgutil.iter_modules(byteformer_convert.__path__)}
    assert modules.isdisjoint(api.__all__)
    code = "import byteformer_convert as b, byteformer_convert.inspection, byteformer_convert.cli.inspect; b.inspect()"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        fresh(code)
    assert "nothing to inspect" in caught.value.stderr


def test_the_whole_error_tree_is_public() -> None:
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert tree <= set(api.__all__)


def test_every_result_is_frozen() -> None:
    results = [getattr(api, name) for name in api.__all__ if dataclasses.is_dataclass(getattr(api, name))]
    assert {result.__name__ for result in results} >= {"Conversion", "Verification", "Inspection", "Prediction"}
    assert all(result.__dataclass_params__.frozen for result in results)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_what_its_command_takes_by_the_same_names_and_defaults(name: str) -> None:
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    asked = {parameter.name.removesuffix("_id"): parameter for parameter in command.params}
    offered = signatures.signature(getattr(api, name)).parameters

    assert asked.keys() - DRAWING == offered.keys() - {"say"}
    for key in asked.keys() - DRAWING:
        required = offered[key].default is signatures.Parameter.empty
        assert required == asked[key].required, key
        assert required or (offered[key].default or None) == (asked[key].default or None), key


@pytest.mark.parametrize("as_given", [str, Path], ids=["text", "path"])
def test_paths_are_text_or_path_objects(
    as_given: Any, small_world: tuple[Path, Path], converted: Conversion, warm: FreshProcess, tmp_path: Path
) -> None:
    config, weights = map(as_given, small_world)
    photo = write_photo(tmp_path / "a.png")
    made = byteformer_convert.convert(
        as_given(tmp_path / "out"), weights=weights, config=config, override=["model.activation.name=gelu"]
    )
    verified = byteformer_convert.verify(as_given(made.output), weights=weights, config=config)
    predicted = byteformer_convert.predict(as_given(made.output), [as_given(photo)], raw=True, top_k=2)

    assert made.parity.verdict == "passed"
    assert made.output == tmp_path / "out"
    assert verified.passed
    assert [len(file.top) for file in predicted.files] == [2]
    assert byteformer_convert.inspect(as_given(made.output)).parameters > 0
    assert byteformer_convert.inspect(config=config, weights=weights).mismatches == ()


def test_nothing_is_printed_but_said(
    small_world: tuple[Path, Path], warm: FreshProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, weights = small_world
    photo = write_photo(tmp_path / "a.png")
    said: list[str] = []
    made = byteformer_convert.convert(tmp_path / "out", weights=weights, config=config, say=said.append)
    byteformer_convert.verify(made.output, weights=weights, config=config, say=said.append)
    byteformer_convert.inspect(made.output)
    byteformer_convert.predict(made.output, [photo], raw=True)

    assert capfd.readouterr() == ("", "")
    assert said.count("Reading the checkpoint") == 2


def test_code_that_is_not_this_versions_is_not_run_unless_it_is_trusted(
    small_world: tuple[Path, Path], converted: Conversion, tmp_path: Path
) -> None:
    config, weights = small_world
    folder = byteformer_convert.convert(tmp_path / "out", weights=weights, config=config, skip_parity=True).output
    ran = tmp_path / "ran"
    code = folder / "modeling_byteformer.py"
    code.write_text(f"{code.read_text()}\nopen({str(ran)!r}, 'w').close()\n")
    photo = write_photo(tmp_path / "a.png")

    for refused in (
        lambda: byteformer_convert.predict(folder, [photo], raw=True),
        lambda: byteformer_convert.verify(folder, weights=weights, config=config),
    ):
        with pytest.raises(byteformer_convert.FolderError, match="not this version's"):
            refused()
    byteformer_convert.inspect(folder)
    assert not ran.exists()
    # In a new process: transformers takes the classes of a model type that it has loaded before for every later folder.
    call = f"predict({str(folder)!r}, [{str(photo)!r}], raw=True, trust_remote_code=True)"
    assert fresh(f"import byteformer_convert; print(byteformer_convert.{call}.errors)") == "()\n"
    assert ran.exists()


def test_a_file_or_an_override_that_is_not_in_a_list_is_not_taken_letter_by_letter(converted: Conversion) -> None:
    with pytest.raises(byteformer_convert.UsageError, match=r"files is a single str.*\n.*files=\[\.\.\.\]"):
        byteformer_convert.predict(converted.output, "cat.jpg")
    with pytest.raises(byteformer_convert.UsageError, match="override is a single str"):
        byteformer_convert.inspect(config="model.yaml", override="a.b=1")


@pytest.mark.parametrize("name", ["convert", "verify", "inspect"])
def test_weights_that_are_neither_model_nor_ema_are_refused(name: str, small_world: tuple[Path, Path]) -> None:
    config, weights = small_world
    first = {} if name == "inspect" else {"output" if name == "convert" else "folder": "x"}
    with pytest.raises(byteformer_convert.UsageError, match="'emma'"):
        getattr(byteformer_convert, name)(**first, weights=weights, config=config, weights_key="emma")


def test_no_class_is_too_few(converted: Conversion) -> None:
    with pytest.raises(byteformer_convert.UsageError, match="--top-k is 0"):
        byteformer_convert.predict(converted.output, ["cat.jpg"], top_k=0)


def test_the_readmes_example_runs(
    warm: FreshProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path)
    (tmp_path / "model.pt").rename(tmp_path / "checkpoint_ema_best.pt")
    write_photo(tmp_path / "cat.jpg", 64)
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLE, "README.md", "exec"), {})
    assert "cat.jpg ('LABEL_" in capsys.readouterr().out


USER = f"""{EXAMPLE}
from typing import assert_type
assert_type(made, byteformer_convert.Conversion)
assert_type(byteformer_convert.verify("a", weights="b"), byteformer_convert.Verification)
assert_type(byteformer_convert.inspect("a"), byteformer_convert.Inspection)
assert_type(byteformer_convert.predict("a", ["b"]), byteformer_convert.Prediction)
"""
WRONG = "import byteformer_convert\nbyteformer_convert.konvert\nbyteformer_convert.verify(1, weights='w').passd\n"


def test_a_type_checker_knows_the_functions_and_their_mistakes(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(WRONG)
    found = {}
    for name in ("user", "wrong"):
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
        run = subprocess.run([*command, f"{name}.py"], cwd=tmp_path, capture_output=True, text=True)
        found[name] = run.stdout
    assert found["user"].startswith("Success"), found["user"]
    assert [word in found["wrong"] for word in ('"konvert"', '"passd"', '"int"')] == [True] * 3, found["wrong"]
