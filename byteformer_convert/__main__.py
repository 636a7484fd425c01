"""`python -m byteformer_convert` is the command `byteformer-convert`."""

from __future__ import annotations

from byteformer_convert.cli import main

if __name__ == "__main__":
    main()
