"""SIGBUS: somebody cut a file short while we read it straight from the disk (mmap), and what we ask for is gone.

Without this the process would end without a word. A handler of Python's `signal` would not help: it runs once the C
code that reads returns, which it never does, for the same read is tried again for ever. A ctypes function runs at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from byteformer_convert.errors import InputError

WHAT_NEXT = "Run the command again once nobody writes to it, or give a copy."


@contextmanager
def bus_errors(tell: Callable[[InputError], None]) -> Iterator[None]:
    """Within the block, a bus error is told as an error of an input, and ends the process with its exit code."""
    if not hasattr(signal, "SIGBUS"):
        yield
        return

    first = Lock()

    def told(number: int) -> None:
        with first:  # of several threads that read
            try:
                tell(InputError("a file was cut short while it was read.", hint=WHAT_NEXT))
            finally:
                os._exit(InputError.exit_code)  # there is no way back into the code that was reading

    handle = ctypes.CFUNCTYPE(None, ctypes.c_int)(told)
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    before = set_handler(signal.SIGBUS, ctypes.cast(handle, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)
