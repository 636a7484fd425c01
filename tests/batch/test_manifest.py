"""Manifests: what they may say, where the globs lead, and every mistake by its entry."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

from byteformer_convert.batch.manifest import KEYS, PUSH_KEYS, Entry, read_manifest, shard_of
from byteformer_convert.cli.batch import batch
from byteformer_convert.cli.convert import convert
from byteformer_convert.errors import ManifestError, UsageError


def read(folder: Path, content: object) -> tuple[Entry, ...]:
    (folder / "manifest.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_manifest(folder / "manifest.yaml")


def problem(folder: Path, content: object) -> str:
    with pytest.raises(ManifestError) as caught:
        read(folder, content)
    assert caught.value.exit_code == 3
    assert caught.value.hint or caught.value.where
    return caught.value.message


def make_run(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("")


def test_an_entry_takes_the_defaults_where_it_says_nothing_itself(tmp_path: Path) -> None:
    entries = read(
        tmp_path,
        {
            "defaults": {"config": "a.yaml", "dtype": "bfloat16", "overrides": ["x=1"], "license": "mit"},
            "entries": [{"weights": "one.pt"}, {"name": "second", "weights": "/abs/two.pt", "dtype": "float16"}],
        },
    )
    one, two = entries
    assert (one.name, one.weights, one.config) == ("one", tmp_path / "one.pt", tmp_path / "a.yaml")
    assert (one.dtype, one.overrides, one.license) == ("bfloat16", ("x=1",), "mit")
    assert (two.name, two.weights, two.dtype) == ("second", Path("/abs/two.pt"), "float16")


def test_a_json_list_is_a_manifest_and_a_published_name_is_enough(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps([{"published": "imagenet_tiff", "trim_positions": 10}]))
    assert read_manifest(tmp_path / "m.json") == (Entry("imagenet_tiff", published="imagenet_tiff", trim_positions=10),)


def test_every_key_is_an_option_of_convert() -> None:
    options = set(convert.__annotations__)
    names = {"overrides": "override", "license": "license_id"}
    assert {names.get(key, key) for key in KEYS} - {"name", "runs", "push"} <= options


def test_every_key_is_in_the_help() -> None:
    help_text = inspect.getdoc(batch)
    assert help_text is not None
    assert [key for key in KEYS if not re.search(rf"\b{key}\b", help_text)] == []


def test_every_push_key_is_a_field_of_a_push() -> None:
    from byteformer_convert.output.push_plan import PushRequest

    assert set(PUSH_KEYS) <= set(PushRequest.__dataclass_fields__)


def test_runs_gives_one_entry_a_folder_named_by_what_the_pattern_left_open(tmp_path: Path) -> None:
    for name in ("lr1/run_1", "lr1/run_2", "lr2/run_1"):
        make_run(tmp_path / "sweep" / name, "config.yaml", "checkpoint_ema_best.pt", "checkpoint_last.pt")
    (tmp_path / "sweep" / "notes.txt").write_text("")
    entry = {"runs": "sweep/*/run_*", "config": "*.yaml", "weights": "checkpoint_ema_best.pt"}
    entries = read(tmp_path, {"entries": [entry]})
    assert [found.name for found in entries] == ["lr1-run_1", "lr1-run_2", "lr2-run_1"]
    assert entries[2].weights == tmp_path / "sweep" / "lr2" / "run_1" / "checkpoint_ema_best.pt"
    named = read(tmp_path, [{**entry, "name": "best-{run}", "push": "me/{name}"}])
    assert named[0].name == "best-lr1-run_1"
    assert named[0].push == {"repo_id": "me/best-lr1-run_1"}
    absolute = read(tmp_path, [{**entry, "runs": str(tmp_path / "sweep" / "*" / "run_*")}])
    assert [found.name for found in absolute] == [found.name for found in entries]


def test_a_push_may_be_a_mapping(tmp_path: Path) -> None:
    entry = {"published": "imagenet_tiff", "push": {"repo_id": "me/{name}", "private": True}}
    assert read(tmp_path, [entry])[0].push == {"repo_id": "me/imagenet_tiff", "private": True}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"weights": "a.pt", "dtipe": "auto"}, "entry 1: 'dtipe' is not a key; the nearest is dtype"),
        ({"weights": "a.pt", "dtype": "int8"}, "entry 1: dtype is 'int8', not auto, float32"),
        ({"name": "x", "weights": 3}, r"entry 1 \(x\): weights is 3, not a path"),
        ({"weights": "a.pt", "skip_parity": "yes"}, "skip_parity is 'yes', not true or false"),
        ({"weights": "a.pt", "trim_positions": True}, "trim_positions is true, not a whole number"),
        ({"config": "a.yaml"}, "entry 1: has neither weights nor published"),
        ({"name": "a/b", "weights": "a.pt"}, "name is 'a/b', which cannot be a folder's"),
        ({"name": ".a", "weights": "a.pt"}, "cannot be a folder's"),
        ({"runs": "none/*", "config": "c", "weights": "w"}, "no folder matches 'none/"),
        ({"runs": "none/*"}, "runs needs weights and config"),
        ({"weights": "a.pt", "push": {"private": True}}, "push has no repo_id"),
        ({"weights": "a.pt", "push": {"repo": "x"}}, "push: 'repo' is not a key; the nearest is repo_id"),
        ("a.pt", "entry 1: is not a mapping"),
    ],
)
def test_a_mistake_names_its_entry(tmp_path: Path, entry: object, words: str) -> None:
    import re

    assert re.search(words, problem(tmp_path, {"entries": [entry]}))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    message = problem(tmp_path, [{"weights": 1}, {"weights": "a.pt"}, {"wieghts": "b.pt"}])
    assert "entry 1: weights is 1" in message
    assert "entry 3: 'wieghts' is not a key; the nearest is weights" in message


def test_two_entries_cannot_have_one_folder(tmp_path: Path) -> None:
    assert "2 entries are named 'a'" in problem(tmp_path, [{"weights": "x/a.pt"}, {"weights": "y/a.pt"}])


def test_a_run_with_two_matching_files_is_not_guessed_at(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "one", "config.yaml", "a.pt", "b.pt")
    entry = {"runs": "runs/*", "config": "config.yaml", "weights": "*.pt"}
    assert "one: 2 files match '*.pt', and it takes one" in problem(tmp_path, [entry])


@pytest.mark.parametrize(
    "content", ["entries: 3", "a: [", "just text", "x: 1\nentries: []", "defaults: {no: 1}\nentries: []"]
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    assert problem(tmp_path, content)


def test_a_missing_manifest_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "none.yaml")


def test_shards_are_disjoint_and_make_up_the_whole() -> None:
    entries = [Entry(str(number)) for number in range(10)]
    shards = [shard_of(entries, f"{index}/3") for index in (1, 2, 3)]
    assert sorted((entry.name for shard in shards for entry in shard), key=int) == [entry.name for entry in entries]
    assert [entry.name for entry in shards[0]] == ["0", "3", "6", "9"]
    assert shard_of(entries, None) == tuple(entries)
    assert shard_of(entries[:1], "2/3") == ()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "-1/3", "1/0", ""])
def test_a_shard_that_is_none_is_a_usage_error(shard: str) -> None:
    with pytest.raises(UsageError, match="--shard is"):
        shard_of([], shard)
