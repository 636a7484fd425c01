"""`python -m byteformer_convert` is the command `byteformer-convert`, and this its entry point."""

from __future__ import annotations

import signal


def main() -> None:
    """Loads the command and runs it."""
    # While it loads, Ctrl-C ends the process without a word: nothing is half written, and no traceback helps.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from byteformer_convert.cli import main as command

    command()


if __name__ == "__main__":
    main()
