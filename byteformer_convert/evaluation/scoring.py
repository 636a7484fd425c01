"""One encoded batch through every arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from byteformer_convert.errors import FolderError
from byteformer_convert.evaluation.axis_one_norm import meets_axis_one_norm
from byteformer_convert.evaluation.records import LOSS_UNIT, BatchRecord, FileRecord, FileScore, PrecisionSample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from byteformer_convert.evaluation.batching import EncodedBatch, Group

Autocast = Callable[[], AbstractContextManager[Any]]

TOP = 5
# On a CPU, a padded batch goes through a few rows at a time: rows do not see each other, and smaller tensors stay in
# the caches and leave memory free. A GPU wants all of them.
CPU_BYTES_AT_ONCE = 2**17
PRECISION_SAMPLE = 16  # every so many batches, mixed precision is compared with float32


@dataclass(frozen=True, slots=True)
class Scorer:
    """What turns encoded batches into records.

    Attributes:
        models: One per arithmetic, the folder's own first, all on `device`.
        rows: For each file, its row of the classifier.
        device: Where the models are.
        autocast: Makes the block of a forward pass; None where float32 was asked for.
    """

    models: Sequence[PreTrainedModel]
    rows: Callable[[int], int]
    device: torch.device
    autocast: Autocast | None = None

    @torch.no_grad()
    def score(self, encoded: EncodedBatch) -> BatchRecord:
        """Scores every file of the batch.

        Raises:
            FolderError: A logit is not a number.
        """
        files: list[FileRecord] = []
        sample = PrecisionSample()
        sampled = self.autocast is not None and encoded.batch % PRECISION_SAMPLE == 0
        for group in encoded.groups:
            logits = [self._logits(model, group) for model in self.models]
            files += self._records(group, logits)
            if sampled:
                sample = sample.merged(_compared(logits[0], self._logits(self.models[0], group, exact=True)))
        return BatchRecord(encoded.batch, tuple(files), encoded.broken, sample if sampled else None)

    def _logits(self, model: PreTrainedModel, group: Group, *, exact: bool = False) -> torch.Tensor:
        """(files, classes) float64, on the CPU."""
        ids = torch.from_numpy(group.ids)
        parts = []
        rows_at_once = max(1, CPU_BYTES_AT_ONCE // ids.shape[1]) if self.device.type == "cpu" else len(ids)
        for part in ids.split(rows_at_once):
            part = part.to(self.device)
            if self.autocast is None or exact:
                parts.append(model(input_ids=part).logits)
            else:
                with self.autocast():
                    parts.append(model(input_ids=part).logits)
        logits = torch.cat(parts).float().cpu().double()
        if not logits.isfinite().all():
            raise FolderError(
                "the model's logits are not all numbers.",
                hint="Its weights are damaged; or, with --mixed-precision, out of the range of the type: try bf16.",
            )
        return logits

    def _records(self, group: Group, logits: Sequence[torch.Tensor]) -> Iterator[FileRecord]:
        rows = torch.tensor([self.rows(index) for index in group.indices])
        scores = zip(*(_scores(values, rows) for values in logits), strict=True)
        for index, length, row, file_scores in zip(group.indices, group.lengths, rows.tolist(), scores, strict=True):
            yield FileRecord(index, row, self._meets_norm(group, length), tuple(file_scores))

    def _meets_norm(self, group: Group, length: int) -> bool:
        config = self.models[0].config
        return meets_axis_one_norm(config, length if config.mask_padding else group.ids.shape[1])


def _scores(logits: torch.Tensor, rows: torch.Tensor) -> Iterator[FileScore]:
    losses = F.cross_entropy(logits, rows, reduction="none")
    best = logits.topk(min(TOP, logits.shape[1])).indices
    in_top5 = (best == rows[:, None]).any(dim=1)
    for predicted, found, loss in zip(best[:, 0].tolist(), in_top5.tolist(), losses.tolist(), strict=True):
        yield FileScore(predicted, found, round(loss / LOSS_UNIT))


def _compared(mixed: torch.Tensor, exact: torch.Tensor) -> PrecisionSample:
    changed = int((mixed.argmax(dim=1) != exact.argmax(dim=1)).sum())
    return PrecisionSample(len(mixed), changed, float((mixed - exact).abs().max()))
