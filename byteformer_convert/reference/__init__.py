"""The other forward pass: CoreNet's arithmetic under CoreNet's own parameter names, for checking against."""

from __future__ import annotations

from byteformer_convert.reference.byteformer import CoreNetByteFormer

__all__ = ["CoreNetByteFormer"]
