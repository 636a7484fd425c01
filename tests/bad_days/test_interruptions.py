"""A conversion that is stopped at any step leaves the old folder, whole, or the new one, whole, and nothing beside it.

Here at some of the steps that touch the disk; `scripts/interrupt` goes through all of them, and lines of code besides.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Mapping, Sequence

import pytest

from tests.bad_days.interruption import SIGNALS, Forks, Point, Scene, faults_after, faults_of
from tests.small_world import contents

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts processes as Linux does"),
]

# What makes a difference: made, not yet locked, one file written, all written, right before and after the exchange,
# while the old folder is removed.
STEPS: Mapping[str, str] = {
    "made": r"os\.mkdir .*\.partial-",
    "not yet locked": r"open .*\.partial-\w+ None",
    "locked": r"fcntl\.flock",
    "code": r"open .*\.partial-\w+/modeling_byteformer\.py w",
    "weights": r"open .*\.partial-\w+/model\.safetensors w",
    "report": r"open .*\.partial-\w+/conversion_report\.json w",
    "to the disk": r"open .*\.partial-\w+/config\.json None",
    "exchange": r"renameat2",
    "the old one goes": r"shutil\.rmtree .*\.partial-",
    "half of it is gone": r"os\.remove config\.json",
    "all of it is gone": r"os\.rmdir .*\.partial-",
}


@pytest.fixture(scope="module")
def steps(runner: Forks, scene: Scene) -> Sequence[str]:
    """Every step of a conversion that touches the disk."""
    scene.set_up()
    return runner.points("event", *scene.arguments, "--force")


def number_of(steps: Sequence[str], pattern: str) -> int:
    return next(at for at, step in enumerate(steps, start=1) if re.search(pattern, step))


@pytest.mark.parametrize("step", STEPS)
def test_at_every_step_the_old_folder_is_there_or_the_new_one(
    runner: Forks, scene: Scene, steps: Sequence[str], step: str
) -> None:
    at = number_of(steps, STEPS[step])
    assert faults_of(runner, scene, Point("event", at, signal.SIGKILL)) == []
    assert faults_of(runner, scene, Point("event", at, signal.SIGINT, held=True)) == []  # Ctrl-C, again and again


def test_where_there_was_no_folder_there_is_none_or_a_whole_one(
    runner: Forks, scene: Scene, steps: Sequence[str]
) -> None:
    empty = Scene(scene.arguments, scene.target, old=None, new=scene.new)
    for number in SIGNALS:
        assert faults_of(runner, empty, Point("event", number_of(steps, STEPS["report"]), number)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_with_its_fresh_process_a_terminals_signal_leaves_nothing_running(
    runner: Forks, scene: Scene, steps: Sequence[str], number: int
) -> None:
    scene.set_up()
    arguments = [argument for argument in scene.arguments if argument != "--skip-parity"]
    hit = Point("event", number_of(steps, STEPS["report"]) + 1, number, group=True)  # one more: the process's start
    ended = runner.run(*arguments, "--force", point=hit)
    # Whoever could have emptied TMPDIR was killed as well.
    assert faults_after(runner, scene, hit, ended, excused=number == signal.SIGKILL) == []


# --- the way back ---


def test_a_way_back_leaves_both_files_or_none_and_the_next_one_cleans_up(runner: Forks, scene: Scene) -> None:
    scene.set_up()
    folder = runner.place / "back"
    folder.mkdir()
    command = ("to-corenet", scene.target, "--output", folder / "w.pt")
    steps = runner.points("event", *command)
    whole = contents(folder)
    at = {
        "weights": number_of(steps, r"open .*\.w\.pt\.partial-\w+ w"),
        "yaml": number_of(steps, r"open .*\.w\.yaml\.partial-\w+ w"),
        "between": 1 + number_of(steps, r"os\.rename .*w\.yaml"),
    }
    for step, where in at.items():
        for number in (signal.SIGINT, signal.SIGKILL):
            for path in folder.iterdir():
                path.unlink()
            ended = runner.run(*command, point=Point("event", where, number))
            assert ended.code == (130 if number == signal.SIGINT else -number), (step, ended)
            assert "Traceback" not in ended.stderr
            there = contents(folder)
            assert "w.pt" not in there or there == whole  # what people wait for, never without its companion
            assert number == signal.SIGKILL or not [name for name in there if name.startswith(".")]
            assert runner.run(*command, "--force").code == 0
            assert contents(folder) == whole
