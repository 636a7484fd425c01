"""Runs an evaluation, on one process or on all that accelerate, torchrun or Slurm started.

Batches are dealt out to the processes, their records come together again after every round, and the main process
counts them: every file exactly once, in the same batches, with the same result as on a single process.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from byteformer_convert import __version__
from byteformer_convert.checking import look, refuse_changed
from byteformer_convert.errors import FileInputError, UsageError
from byteformer_convert.evaluation.card import check_card, write_to_card
from byteformer_convert.evaluation.classes import class_rows
from byteformer_convert.evaluation.clock import Clock, Throughput, throughput_of
from byteformer_convert.evaluation.journal import Journal
from byteformer_convert.evaluation.progress import Progress
from byteformer_convert.evaluation.request import INSTALL_EXTRA
from byteformer_convert.evaluation.result import BrokenFile, Evaluation, PrecisionEffect
from byteformer_convert.evaluation.sources import open_source
from byteformer_convert.evaluation.tally import Tally
from byteformer_convert.evaluation.variants import parse_variants, variant_models
from byteformer_convert.loading import LoadedFolder, check_encoding, load_folder
from byteformer_convert.output.folder import CARD_NAME, record_files
from byteformer_convert.output.staging import REPORT_NAME

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from accelerate import PartialState

    from byteformer_convert.evaluation.batching import EncodedBatch, Plan
    from byteformer_convert.evaluation.classes import ClassRows
    from byteformer_convert.evaluation.items import Source
    from byteformer_convert.evaluation.records import BatchRecord
    from byteformer_convert.evaluation.request import EvaluationRequest
    from byteformer_convert.evaluation.scoring import Autocast, Scorer
    from byteformer_convert.evaluation.variants import Variant

Say = Callable[[str], None]
PAPERS: Final = {CARD_NAME, REPORT_NAME}  # they may say more by now, and change no number


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the main process has at the end."""

    evaluation: Evaluation
    throughput: Throughput


def _quietly(message: str) -> None:
    pass


def evaluate(request: EvaluationRequest, say: Say = _quietly) -> Outcome | None:
    """Evaluates a folder on labelled files.

    Args:
        request: What to evaluate, and how.
        say: Is told what happens, on the main process.

    Returns:
        The outcome; None on every process but the main one.

    Raises:
        UsageError: The request makes no sense here.
        InputError: The folder or the data cannot be used, or the order of their classes differs; or the folder whose
            card is to be written was written to meanwhile.
        OutputError: The journal cannot be written.
    """
    variants = parse_variants(request.compare)
    processes = _processes()
    say = say if processes.is_main_process else _quietly
    say("Loading the folder")
    seen = look(None, request.folder)
    with processes.local_main_process_first():  # the first one puts the folder's code where transformers looks
        loaded = load_folder(request.folder, trust_remote_code=request.trust_remote_code)
        source = open_source(
            request.data, loaded.task, data_format=request.data_format, split=request.split, raw=request.raw
        )
    if not request.raw:
        check_encoding(loaded)
    if request.write_card:
        check_card(loaded.path)
    rows = class_rows(source, loaded.labels, request.class_order, request.data)
    run = _Run(request, processes, loaded, source, rows, variants, seen, say)
    with ExitStack() as stack:
        outcome = run.outcome(stack)
    processes.wait_for_everyone()
    processes.destroy_process_group()  # else gloo's threads are still running when the interpreter ends, and abort it
    return outcome


def _processes() -> PartialState:
    """This process and those that were started with it, as accelerate knows them."""
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise UsageError("evaluating needs accelerate, which is not installed.", hint=INSTALL_EXTRA) from error
    import torch

    # Without cpu=True, processes that a launcher started on a machine without a GPU would not find each other.
    processes = PartialState(cpu=not torch.accelerator.is_available())
    if processes.num_processes != (started := int(os.environ.get("WORLD_SIZE", "1"))):
        raise UsageError(
            f"{started} processes were started, of which {processes.num_processes} found each other.",
            hint="Start them with accelerate launch or torchrun; else every one would evaluate everything.",
        )
    return processes


def _autocast(precision: str, device: torch.device) -> Autocast | None:
    """Makes the block in which a model computes in mixed precision; None for float32.

    Raises:
        UsageError: The device has no such precision; torch would warn, and compute in another one.
    """
    import torch

    if precision == "no":
        return None
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    block = partial(torch.autocast, device.type, dtype=dtype)
    square = torch.ones(2, 2, device=device)
    with warnings.catch_warnings(action="ignore"), block():
        if (square @ square).dtype is not dtype:
            raise UsageError(f"--mixed-precision {precision} does not work on this machine.", hint="Try bf16.")
    return block


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything that stays the same during one evaluation."""

    request: EvaluationRequest
    processes: PartialState
    loaded: LoadedFolder
    source: Source
    rows: ClassRows
    variants: Sequence[Variant]
    seen: Mapping[Path, os.stat_result]
    say: Say

    def outcome(self, stack: ExitStack) -> Outcome | None:
        from accelerate.utils import gather_object

        plan = self._plan()
        self._check_same_everywhere(plan)
        tally = Tally(self.variants)
        journal = self._journal(stack, plan, tally)
        pending = self._pending(plan, tally)
        clock = Clock()
        for records in self._rounds(plan, pending, clock):
            for record in records:
                tally.add(record)
                if journal is not None:
                    journal.append(record)
        clocks = gather_object([clock.stopped()])
        if not self.processes.is_main_process:
            return None
        evaluation = self._evaluation(plan, tally)
        if self.request.write_card:
            self.say("Writing the numbers into the card")
            refuse_changed({path: status for path, status in self.seen.items() if path.name not in PAPERS})
            write_to_card(self.loaded.path, self.loaded.task, evaluation, self.request)
        throughput = throughput_of(clocks, plan.files_in(pending), self.request.workers)
        return Outcome(evaluation, throughput)

    def _plan(self) -> Plan:
        from byteformer_convert.evaluation.batching import Plan

        files = len(self.source.items)
        limit = files if self.request.limit is None else self.request.limit
        return Plan(min(files, limit), self.request.batch_size, self.request.padded)

    def _subject(self, plan: Plan) -> dict[str, Any]:
        """What makes this evaluation what it is; a journal of another one is refused."""
        files = [file.to_dict() for file in record_files(self.loaded.path) if file.name not in PAPERS]
        request = self.request
        return {
            "version": __version__,
            "folder": hashlib.sha256(repr(files).encode()).hexdigest(),
            "data": self.source.digest(),
            "files": plan.files,
            "class_rows": hashlib.sha256(repr(self.rows.rows).encode()).hexdigest(),
            "batch_size": plan.batch_size,
            "padded": plan.padded,
            "raw": request.raw,
            "seed": request.seed,
            "mixed_precision": request.mixed_precision,
            "compare": [variant.name for variant in self.variants],
        }

    def _check_same_everywhere(self, plan: Plan) -> None:
        from accelerate.utils import gather_object

        subject = self._subject(plan)
        for other in gather_object([subject]):
            if changed := [key for key in subject if subject[key] != other[key]]:
                raise FileInputError(
                    f"the machines do not see the same {changed[0]}.",
                    where=self.request.data,
                    hint="Give every machine the same folder and the same data.",
                )

    def _journal(self, stack: ExitStack, plan: Plan, tally: Tally) -> Journal | None:
        """On the main process, where one was asked for; its batches are counted."""
        if self.request.journal is None or not self.processes.is_main_process:
            return None
        journal = stack.enter_context(Journal(self.request.journal, self._subject(plan)))
        sizes = {"batches": plan.batches, "files": plan.files}
        sizes |= {"classes": len(self.loaded.labels), "arithmetics": len(self.variants)}
        for record in journal.finished(lambda record: record.fits(**sizes)):
            tally.add(record)
        return journal

    def _pending(self, plan: Plan, tally: Tally) -> list[int]:
        """The batches that are left, as the main process knows them."""
        from accelerate.utils import broadcast_object_list

        finished: frozenset[int] = broadcast_object_list([tally.batches])[0]
        if finished:
            self.say(f"{plan.files_in(sorted(finished)):,} of {plan.files:,} files were done before")
        return [batch for batch in range(plan.batches) if batch not in finished]

    def _rounds(self, plan: Plan, pending: list[int], clock: Clock) -> Iterator[list[BatchRecord]]:
        """One batch a process at a time; the records of all of them."""
        from accelerate.utils import gather_object
        from torch.backends import cudnn

        scorer = self._scorer()
        progress = Progress(plan.files, plan.files - plan.files_in(pending), self.say)
        if pending:
            self.say(f"Evaluating {plan.files_in(pending):,} files")
        with (
            self.processes.split_between_processes(pending) as mine,
            cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),  # float32 means float32
        ):
            batches = clock.waiting(self._encoded(plan, mine))
            for _ in range(math.ceil(len(pending) / self.processes.num_processes)):
                encoded = next(batches, None)
                records = [] if encoded is None else [clock.computing(scorer, encoded)]
                gathered: list[BatchRecord] = gather_object(records)
                progress.advance(plan.files_in([record.batch for record in gathered]))
                yield gathered

    def _encoded(self, plan: Plan, batches: Sequence[int]) -> Iterator[EncodedBatch]:
        from byteformer_convert.evaluation.batching import Encoder, Limits, encoded_batches

        limits = Limits.of(self.loaded.model.config)
        encoder = Encoder(self.loaded.path, self.loaded.task, self.request.raw, self.request.seed, limits)
        return encoded_batches(encoder, plan, self.source.items, batches, self.request.workers)

    def _scorer(self) -> Scorer:
        from byteformer_convert.evaluation.scoring import Scorer

        model = self.loaded.model.to(self.processes.device)
        items, rows = self.source.items, self.rows.rows
        return Scorer(
            variant_models(model, self.variants),
            lambda index: rows[items.class_index(index)],
            self.processes.device,
            _autocast(self.request.mixed_precision, self.processes.device),
        )

    def _evaluation(self, plan: Plan, tally: Tally) -> Evaluation:
        request = self.request
        scores = tally.scores(self.loaded.labels)
        broken = tuple(BrokenFile(self.source.items.name(index), reason) for index, reason in tally.broken())
        if not scores[0].top1.of:
            raise FileInputError(
                f"none of its {plan.files:,} files can be used; the first: {broken[0].name}: {broken[0].reason}",
                where=request.data,
                hint=None if request.raw else "--raw takes files as they are, without decoding them.",
            )
        return Evaluation(
            folder=str(request.folder),
            data=str(request.data),
            kind=self.source.kind,
            files=plan.files,
            batches=plan.sentence(),
            padded=plan.padded,
            batch_size=plan.batch_size,
            raw=request.raw,
            class_order=self.rows.how,
            precision=self._precision(tally),
            scores=scores,
            broken=broken,
            broken_count=tally.broken_count,
            notes=self.source.notes,
        )

    def _precision(self, tally: Tally) -> PrecisionEffect | None:
        if self.request.mixed_precision == "no":
            return None
        found = tally.precision
        difference = float(f"{found.difference:.2g}")
        return PrecisionEffect(self.request.mixed_precision, found.files, found.changed, difference)
