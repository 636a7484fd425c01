"""The arithmetics that go over the same files in one pass: the folder's own, and it with oddities switched off."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byteformer_convert.errors import UsageError
from byteformer_convert.mapping.config import SWITCHES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAITHFUL = "faithful"


@dataclass(frozen=True, slots=True)
class Variant:
    """One arithmetic.

    Attributes:
        name: `faithful`, or the switches joined with `+`.
        switches: Config fields that are set to True over what the folder says.
    """

    name: str
    switches: tuple[str, ...] = ()


def parse_variants(compare: str | None) -> tuple[Variant, ...]:
    """The folder's own arithmetic, then what `--compare` asks for: names with commas between, `+` to join some.

    Raises:
        UsageError: A name is not that of a switch.
    """
    variants = [Variant(FAITHFUL)]
    for part in (compare or "").split(","):
        switches = tuple(dict.fromkeys(name.strip() for name in part.split("+") if name.strip()))
        if unknown := [name for name in switches if name not in SWITCHES]:
            raise UsageError(
                f"--compare names {unknown[0]!r}, which is no switch of the model.",
                hint=f"Choose from {', '.join(SWITCHES)}; put commas between, or + to switch several at once.",
            )
        variant = Variant("+".join(switches), switches)
        if switches and variant not in variants:
            variants.append(variant)
    return tuple(variants)


def variant_models(model: PreTrainedModel, variants: Sequence[Variant]) -> tuple[PreTrainedModel, ...]:
    """One model per variant; they share the weights of the first."""
    return tuple(_switched(model, variant.switches) if variant.switches else model for variant in variants)


def _switched(model: PreTrainedModel, switches: Sequence[str]) -> PreTrainedModel:
    import torch

    config = copy.deepcopy(model.config)
    for name in switches:
        setattr(config, name, True)
    with torch.device("meta"):  # the switches are read when a model is made
        switched = type(model)(config)
    switched.load_state_dict(model.state_dict(), strict=True, assign=True)
    return switched.eval()
