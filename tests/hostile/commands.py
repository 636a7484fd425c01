"""What the commands do with a result, drawn into memory, so that what cannot be shown is found too."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.errors import ByteFormerConvertError
from byteformer_convert.inspection import inspect
from byteformer_convert.report import Reporter
from byteformer_convert.report.inspection import draw_inspection

if TYPE_CHECKING:
    from byteformer_convert.inspection import Inspection

CONTROL = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0))} - {"\n"}


def inspect_and_draw(**arguments: Any) -> Inspection:
    """`byteformer-convert inspect`, both as tables and as JSON; an error is drawn, too, and raised again."""
    try:
        inspection = inspect(**arguments)
    except ByteFormerConvertError as error:
        draw(partial(Reporter.error, error=error))
        raise
    draw(lambda reporter: draw_inspection(reporter, inspection))
    return inspection


def draw(how: Callable[[Reporter], None]) -> None:
    """Draws a result both ways, and looks at what a terminal would get."""
    for as_json in (True, False):
        found = CONTROL & set(drawn(how, as_json=as_json))
        assert not found, f"control characters reach the terminal: {sorted(found)}"


def drawn(draw: Callable[[Reporter], None], *, as_json: bool) -> str:
    """What it prints, both streams together, as a terminal with UTF-8 would get it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(stream), redirect_stderr(stream):
        draw(Reporter(as_json=as_json))
    stream.flush()
    text: str = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
    return text


def written(place: Path, name: str, data: bytes) -> Path:
    """A file of these bytes."""
    path = place / name
    path.write_bytes(data)
    return path
