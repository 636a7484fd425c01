"""Results to tables for people, or to JSON for machines. The only package that draws."""

from __future__ import annotations

from byteformer_convert.report.reporter import Reporter

__all__ = ["Reporter"]
