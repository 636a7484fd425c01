"""What is read from a finished card, and the one thing that is changed in it."""

from __future__ import annotations

import re
from typing import Any

from byteformer_convert.corenet.flat_yaml import MAX_BYTES, parse_value
from byteformer_convert.errors import OptionsError

METADATA = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?$", re.DOTALL | re.MULTILINE)

# The name of the folder or repository in the card's code: pipeline(..., model="NAME"), from_pretrained("NAME")
NAME_IN_CODE = re.compile(r'(\bmodel=|\bfrom_pretrained\()"[^"\n]*"')


def metadata_of(card: str) -> dict[str, Any] | None:
    """The YAML between the first two lines of `---`; None where there is none."""
    block = METADATA.match(card)
    try:
        content = parse_value(block[1][: MAX_BYTES + 1], source="README.md") if block else None
    except OptionsError:
        return None
    return content if isinstance(content, dict) else None


def with_name(card: str, name: str) -> str:
    """The card, its code loading from `name`."""
    return NAME_IN_CODE.sub(lambda found: f'{found[1]}"{name}"', card)
