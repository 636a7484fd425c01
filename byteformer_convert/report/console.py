"""rich's console, with a way to print sentences."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text


class SentenceConsole(Console):
    """A console that also prints sentences."""

    def sentence(self, markup: str) -> None:
        """One paragraph: broken between words in a terminal, one line elsewhere, so that it can be searched.

        A word that is longer than the terminal is wide stays whole: a path that rich breaks in two cannot be copied.
        """
        text = self.render_str(markup)
        if self.is_terminal:
            text = _broken(text, self.width)
        self.print(text, soft_wrap=True)


def _broken(text: Text, width: int) -> Text:
    start, breaks = 0, []
    for word in re.finditer(r"\S+", text.plain):
        if word.start() > start and cell_len(text.plain[start : word.end()]) > width:
            start = word.start()
            breaks.append(start)
    lines = text.divide(breaks)
    for line in lines[:-1]:
        line.rstrip()
    return Text("\n").join(lines)
