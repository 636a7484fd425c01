"""What evaluate was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSTALL_EXTRA: Final = "Install the extra: pip install 'byteformer-convert[evaluate]'."


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """One evaluation, as asked for.

    Attributes:
        folder: A converted folder. Its own code is run.
        data: Class folders, a list of files, a manifest, or what the datasets library reads.
        data_format: auto, tree, list, manifest or datasets.
        split: Of a `datasets` folder with several.
        raw: Take the files' own bytes, no step but padding.
        class_order: check, data or labels.
        batch_size: Files in a batch.
        padded: Whether a batch is padded to its longest file, as CoreNet does.
        compare: Switches of the arithmetic to compare with, such as `mask_padding`.
        mixed_precision: no, bf16 or fp16.
        workers: Processes that read and encode files, for each process that has a model.
        limit: Only the first so many files.
        seed: Of the processor's random steps, where it has any.
        journal: File of finished batches to write, and to go on from.
        write_card: Whether to write the numbers into the folder's card.
        data_name: What the card calls the data, such as its name on the Hub; None: the name of its folder or file.
        trust_remote_code: Whether to run the folder's code even where it is not this version's.
    """

    folder: Path
    data: Path
    data_format: str = "auto"
    split: str | None = None
    raw: bool = False
    class_order: str = "check"
    batch_size: int = 48
    padded: bool = True
    compare: str | None = None
    mixed_precision: str = "no"
    workers: int = 2
    limit: int | None = None
    seed: int = 0
    journal: Path | None = None
    write_card: bool = False
    data_name: str | None = None
    trust_remote_code: bool = False
