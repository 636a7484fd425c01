"""Signals that ask us to stop: each is a KeyboardInterrupt, raised again until somebody stops for it.

Once is not enough. Python drops what is raised in a finalizer or a weakref's callback, of which every import has some,
and modules that Cython made register their memory views under a bare `except: pass` as they are imported.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

AGAIN = 0.05  # seconds
# Windows has the first two.
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)]
TICKING = [signal.SIGALRM] if hasattr(signal, "setitimer") else []
# No Event: its lock would be taken twice by two signals in a row.
_asked = False
_over = False


def listen() -> None:
    """From now on these signals raise KeyboardInterrupt in the main thread, which has to call this.

    Not SIGINT alone: so that a job that is told to stop, outlives its terminal or has used up its time cleans up behind
    itself, as after Ctrl-C.
    """
    global _over
    _over = False
    sys.unraisablehook = _unraisable
    for number in (*STOPPING, *TICKING):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & leave some
            signal.signal(number, _interrupt)


def stop_listening() -> None:
    """Signals end the process again as they end any other, without a traceback."""
    global _over
    _over = True
    sys.unraisablehook = _silence  # what finalizers trip over now, such as workers that were ended, says nothing
    heard()
    for number in (*STOPPING, *TICKING):
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_DFL)


def leave_to_parent() -> None:
    """For a process that serves another: Ctrl-C reaches both, and that one ends it."""
    stop_listening()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def asked_to_stop() -> bool:
    """Whether a signal came that nobody has heard yet."""
    return _asked


def heard() -> None:
    """For whoever catches the KeyboardInterrupt and goes on; to be called in the `except` block."""
    global _asked
    if _asked and TICKING:
        signal.setitimer(signal.ITIMER_REAL, 0)
    _asked = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    if _over:
        return
    passing = sys.exception()
    # Once we are on our way out, no further signal disturbs the clean-up.
    on_our_way = isinstance(passing, SystemExit) or (_asked and passing is not None)
    if not _asked and TICKING:
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    _asked = True
    if not on_our_way:
        raise KeyboardInterrupt


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    if not _asked:
        sys.__unraisablehook__(lost)


def _silence(lost: sys.UnraisableHookArgs) -> None:
    pass
