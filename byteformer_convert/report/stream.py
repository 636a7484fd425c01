"""Standard output and standard error, whatever has become of them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TextIO

from byteformer_convert.errors import OutputError


class Stream:
    """A text stream to print to, for as long as somebody reads it.

    A reader who leaves early (`| head -1`), or a stream that was closed before we began (`>&-`), is no reason to fail:
    the command has done its work, and its exit code says how that went. Letters that the stream's encoding lacks are
    written as escapes.

    Args:
        stream: Such as sys.stdout; None where it was closed before we began.
        where: What to call it in an error; None: nobody is told that it cannot be written.

    Raises:
        OutputError: From `write` and `flush`, when a stream with a name cannot be written, as on a full disk.
    """

    def __init__(self, stream: TextIO | None, where: str | None = None) -> None:
        self._stream = stream
        self._where = where
        with suppress(AttributeError):  # a stand-in, as in tests
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def write(self, text: str) -> int:
        """All of it, or nothing where nobody reads any longer."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """To whoever reads it."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fail(self, error: OSError) -> None:
        with suppress(OSError, ValueError, AttributeError):  # a stand-in has no descriptor
            # Python flushes once more when it ends, and would fail again.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)
        self._stream = None
        if self._where is not None and not isinstance(error, BrokenPipeError):
            raise OutputError(f"cannot be written: {error.strerror}.", where=self._where) from error
