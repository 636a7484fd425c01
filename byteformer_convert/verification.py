"""A finished folder against the checkpoint that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert import checking
from byteformer_convert.checking import LOGITS_ATOL, Say, quietly
from byteformer_convert.corenet.options import CoreNetOptions, load_options
from byteformer_convert.errors import ParityError
from byteformer_convert.mapping.config import model_fields
from byteformer_convert.mapping.trim import trim_sentence, trimmed
from byteformer_convert.mapping.weights_fit import weights_misfits
from byteformer_convert.output.finished import check_code, read_processor, stored_dtype, usable_config
from byteformer_convert.output.weight_files import weight_shapes

if TYPE_CHECKING:
    from byteformer_convert.corenet.checkpoint import WeightsKey
    from byteformer_convert.parity.result import ParityReport


@dataclass(frozen=True, slots=True)
class Verification:
    """A finished folder against its source.

    Attributes:
        folder: The folder.
        parity: What was compared.
        config_differences: Fields of config.json that are not what the source asks for, one sentence each.
        changed_code: Bundled `.py` files that are not those of this version.
        notes: Sentences that a person should read.
    """

    folder: Path
    parity: ParityReport
    config_differences: tuple[str, ...]
    changed_code: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether config.json says what the source says, and the numbers are equal."""
        return self.parity.verdict == "passed" and not self.config_differences

    @property
    def failure(self) -> str | None:
        """Why it did not pass: the config first, for it explains the numbers."""
        sentences = [*self.config_differences, *([self.parity.failure] if self.parity.failure else [])]
        return "; ".join(sentences) or None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "folder": str(self.folder),
            "passed": self.passed,
            "parity": self.parity.to_dict(),
            "measured": self.parity.measured(),
            "config_differences": list(self.config_differences),
            "changed_code": list(self.changed_code),
            "notes": list(self.notes),
        }


def verify(
    folder: Path,
    weights: Path,
    config: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    weights_key: WeightsKey = "auto",
    atol: float = LOGITS_ATOL,
    trust_remote_code: bool = False,
    detailed: bool = False,
    say: Say = quietly,
) -> Verification:
    """Checks a finished folder against the checkpoint that it came from.

    Args:
        folder: A converted folder. Its own `.py` files are run.
        weights: The checkpoint.
        config: CoreNet's YAML, None where `weights` is an adapter's folder.
        overrides: `KEY=VALUE`, over what the YAML says.
        weights_key: Which weights of a training checkpoint.
        atol: Largest difference of two logits that is allowed.
        trust_remote_code: Whether to run the folder's code even where it is not this version's.
        detailed: Whether parity keeps what a page shows of it.
        say: Is told what happens.

    Returns:
        The verification; `passed` says how it went.

    Raises:
        UsageError: The request makes no sense.
        InputError: Something cannot be read, or the folder's code is not this version's.
        ParityError: The folder cannot even be loaded, or is not as large as its config.json says.
    """
    checking.check_sources(config, weights, atol)
    seen = checking.look(config, weights)
    source = options = load_options(config or weights, overrides)
    config_file = usable_config(folder)
    read_processor(folder)
    changed = check_code(folder, options.task, "Verifying", trust_remote_code=trust_remote_code)
    with checking.blaming_changes(seen), checking.fresh_process() as process:
        say("Reading the checkpoint")
        checkpoint = checking.read_checkpoint(weights, weights_key)
        checking.check_fit(checkpoint, options, weights.name)
        # As the folder's code reads it: a folder saved again by transformers leaves defaults out.
        fields = process.config(folder, list(model_fields(options)))
        options = _trimmed_like(source, fields)
        differences = config_differences(fields, options)
        if not changed and (misfits := list(weights_misfits(config_file, weight_shapes(folder)))):
            # The model would be built as large as config.json says, which may be larger than any machine.
            raise ParityError(f"{'; '.join([*differences, *misfits])}.", where=folder)
        dtype = stored_dtype(config_file)
        parity = checking.compare_with_source(folder, checkpoint, options, process, dtype, atol, say, detailed=detailed)
        checking.refuse_changed(seen)
    note = trim_sentence(options, source)
    return Verification(folder, parity, differences, changed, () if note is None else (note,))


def config_differences(config: Mapping[str, Any], options: CoreNetOptions) -> tuple[str, ...]:
    """Where the fields of config.json depart from what the source asks for, as sentences."""
    wanted = model_fields(options)
    return tuple(
        f"config.json says {name} {config.get(name)!r}, the source asks for {value!r}"
        for name, value in wanted.items()
        if config.get(name) != value
    )


def _trimmed_like(source: CoreNetOptions, fields: Mapping[str, Any]) -> CoreNetOptions:
    """The options with the positions that a folder kept; more of them than there were is a difference, not a trim."""
    rows = fields.get("max_position_embeddings")
    fewer = isinstance(rows, int) and 1 <= rows < source.max_num_tokens
    return trimmed(source, rows) if fewer else source
