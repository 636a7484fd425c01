"""The other end of `stranger.py`: starts the fresh process early, so that its imports overlap with our work."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from byteformer_convert.errors import OutputError, ParityError
from byteformer_convert.machine import lack_behind

if TYPE_CHECKING:
    from torch import Tensor

STRANGER = Path(__file__).with_name("stranger.py")
# As Python and Rust end such a message, whatever the language of its words.
NO_ROOM = re.compile(rf"(?:Errno |os error )({errno.ENOSPC}|{errno.EDQUOT})\b")


class FreshProcess:
    """A process that loads folders as a stranger would; a context manager that ends it.

    Raises:
        ParityError: From any method, when the folder cannot be loaded or run there.
        OutputError: Likewise, when there is no room for its temporary files.
    """

    def __init__(self) -> None:
        with _scratch_errors():
            self._scratch = tempfile.TemporaryDirectory(prefix="byteformer-parity-")
            self._errors = (Path(self._scratch.name) / "stderr").open("w+b")
        self._process = subprocess.Popen(
            # -P: without the script's own folder on the path.
            [sys.executable, "-P", str(STRANGER), self._scratch.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | _environment(self._scratch.name),
            cwd=self._scratch.name,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        self._scratch.cleanup()

    def start_logits(
        self, folder: Path, inputs: Mapping[str, Tensor], *, auto_class: str, dtype: str = "float32"
    ) -> Callable[[], dict[str, Tensor]]:
        """Begins to compute the logits of the folder's model for each input.

        Args:
            folder: A converted folder.
            inputs: Byte ids (rows, bytes) by name.
            auto_class: The Auto class to load it through.
            dtype: Of the arithmetic.

        Returns:
            A function that waits for them, float32; to be called before anything else is asked.
        """
        extra = {"folder": str(folder.resolve()), "auto_class": auto_class, "dtype": dtype}
        return self._ask("logits", inputs, extra)

    def stages(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The output of each stage of the model loaded last, given its input by CoreNet's stage name."""
        return self._ask("stages", inputs, {})()

    def config(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """Fields of the folder's config as its own code reads them, so with its defaults for those it leaves out."""
        fields: dict[str, Any] = self._answer({"config": list(names), "folder": str(folder.resolve())})["config"]
        return fields

    def classify(self, folder: Path, file: Path, *, auto_class: str) -> dict[str, Any]:
        """Encodes a file with the folder's processor and classifies it.

        Returns:
            `bytes`, how many the model was fed; `top`, pairs of class name and probability, best first.
        """
        request = {"classify": str(file), "folder": str(folder.resolve()), "auto_class": auto_class, "dtype": "float32"}
        return self._answer(request)

    def _ask(self, what: str, inputs: Mapping[str, Tensor], extra: dict[str, Any]) -> Callable[[], dict[str, Tensor]]:
        scratch = Path(self._scratch.name)
        question, output = scratch / "inputs.safetensors", scratch / "outputs.safetensors"
        with _scratch_errors():
            save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, question)
        self._send({what: str(question), "output": str(output), **extra})

        def wait() -> dict[str, Tensor]:
            self._receive()
            return load_file(output)

        return wait

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self._send(request)
        return self._receive()

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # told when the answer is missing
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ParityError(f"the fresh process that tries the folder ended early: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            if found := NO_ROOM.search(answer["error"]):
                raise _scratch_error(os.strerror(int(found[1])))
            if (lack := lack_behind(answer["error"])) is not None:
                raise lack
            raise ParityError(
                f"a fresh process cannot load or run the folder: {answer['error']}",
                hint="The folder must work with transformers alone.",
            )
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"


@contextmanager
def _scratch_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise _scratch_error(getattr(error, "strerror", None) or str(error)) from error


def _scratch_error(reason: str) -> OutputError:
    where = os.environ.get("TMPDIR") or "the folder for temporary files"
    return OutputError(
        f"cannot be written: {reason.rstrip('.')}. The check needs it for a few megabytes.",
        where=where,
        hint="Free some space there, or set TMPDIR to another folder.",
    )


def _environment(scratch: str) -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(Path(scratch) / "home"),  # the user's cache and token are nobody's business here
        "HF_MODULES_CACHE": str(Path(scratch) / "modules"),  # else the folder's code stays in the user's cache
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
