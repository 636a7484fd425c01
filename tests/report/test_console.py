"""Sentences: broken between words in a terminal, one line elsewhere."""

from __future__ import annotations

import io

import pytest

from byteformer_convert.report.console import SentenceConsole

SENTENCE = "[bold red]error:[/] one two three /a/path/of/more/letters/than/the/terminal/has [bold]and more[/] words"
PLAIN = "error: one two three /a/path/of/more/letters/than/the/terminal/has and more words\n"
IN_LINES = "error: one two\nthree\n/a/path/of/more/letters/than/the/terminal/has\nand more words\n"


def printed(markup: str, *, terminal: bool) -> str:
    stream = io.StringIO()
    console = SentenceConsole(file=stream, force_terminal=terminal, width=18, no_color=True, emoji=False)
    console.sentence(markup)
    return stream.getvalue()


def without_styles(text: str) -> str:
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_in_a_terminal_no_word_is_broken() -> None:
    assert without_styles(printed(SENTENCE, terminal=True)) == IN_LINES


def test_elsewhere_it_is_one_line() -> None:
    assert printed(SENTENCE, terminal=False) == PLAIN


def test_a_style_goes_on_over_a_break() -> None:
    assert printed("[bold]one two three[/] four five", terminal=True) == ("\x1b[1mone two three\x1b[0m four\nfive\n")
    assert (
        printed("[bold]a long sentence of many words[/]", terminal=True)
        == "\x1b[1ma long sentence of\x1b[0m\n\x1b[1mmany words\x1b[0m\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("text", ["", "\na", ":smile: two  words", "a longer-word-than-the-terminal", "ends in space "])
def test_what_fits_or_cannot_be_broken_stays_as_it_is(text: str, terminal: bool) -> None:
    expected = text.replace(" longer", "\nlonger") if terminal else text
    assert printed(text, terminal=terminal) == expected + "\n"
