"""Runs an evaluation, on one process or on all that accelerate, torchrun or Slurm started.

Batches are dealt out to the processes, their records come together again after every round, and the main process
counts them: every file exactly once, in the same batches, with the same result as on a single process.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert import __version__
from byteformer_convert.errors import FileInputError, UsageError
from byteformer_convert.evaluation.card import write_to_card
from byteformer_convert.evaluation.classes import class_rows
from byteformer_convert.evaluation.journal import Journal
from byteformer_convert.evaluation.progress import Progress
from byteformer_convert.evaluation.result import BrokenFile, Evaluation, PrecisionEffect
from byteformer_convert.evaluation.sources import open_source
from byteformer_convert.evaluation.tally import Tally
from byteformer_convert.evaluation.variants import parse_variants, variant_models
from byteformer_convert.loading import LoadedFolder, load_folder
from byteformer_convert.output.folder import CARD_NAME, record_files
from byteformer_convert.output.staging import REPORT_NAME

if TYPE_CHECKING:
    from accelerate import Accelerator

    from byteformer_convert.evaluation.batching import EncodedBatch, Plan
    from byteformer_convert.evaluation.classes import ClassRows
    from byteformer_convert.evaluation.items import Source
    from byteformer_convert.evaluation.records import BatchRecord
    from byteformer_convert.evaluation.scoring import Scorer
    from byteformer_convert.evaluation.variants import Variant

MIXED_PRECISIONS = ("no", "bf16", "fp16")
INSTALL = "Install the extra: pip install 'byteformer-convert[evaluate]'."

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """One evaluation, as asked for.

    Attributes:
        folder: A converted folder. Its own code is run.
        data: Class folders, a list of files, a manifest, or what the datasets library reads.
        data_format: One of `sources.FORMATS`.
        split: Of a `datasets` folder with several.
        raw: Take the files' own bytes, no step but padding.
        class_order: One of `classes.CLASS_ORDERS`.
        batch_size: Files in a batch.
        padded: Whether a batch is padded to its longest file, as CoreNet does.
        compare: Switches of the arithmetic to compare with, such as `mask_padding`.
        mixed_precision: One of `MIXED_PRECISIONS`.
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


@dataclass(frozen=True, slots=True)
class Throughput:
    """Where the time went; never part of the result, which is the same on every machine.

    Attributes:
        files: Classified now, not in an earlier run.
        seconds: From the first file to the last.
        model_share: Of the time of a process that has a model: computing.
        waiting_share: The same: waiting for files to be read and encoded.
        encoding_seconds: Of a worker, a file.
        processes: That have a model.
        workers: That read and encode, for each process.
        peak_memory: Bytes of the largest process.
    """

    files: int
    seconds: float
    model_share: float
    waiting_share: float
    encoding_seconds: float
    processes: int
    workers: int
    peak_memory: int


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
        InputError: The folder or the data cannot be used, or the order of their classes differs.
        OutputError: The journal cannot be written.
    """
    variants = parse_variants(request.compare)
    accelerator = _accelerator(request)
    say = say if accelerator.is_main_process else _quietly
    say("Loading the folder")
    with accelerator.local_main_process_first():  # the first one puts the folder's code where transformers looks
        loaded = load_folder(request.folder, trust_remote_code=request.trust_remote_code)
        source = open_source(
            request.data, loaded.task, data_format=request.data_format, split=request.split, raw=request.raw
        )
    rows = class_rows(source, loaded.labels, request.class_order, request.data)
    run = _Run(request, accelerator, loaded, source, rows, variants, say)
    with ExitStack() as stack:
        return run.outcome(stack)


def _accelerator(request: EvaluationRequest) -> Accelerator:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise UsageError("evaluating needs accelerate, which is not installed.", hint=INSTALL) from error
    import torch

    wanted = request.mixed_precision
    try:
        # Without cpu=True, processes that a launcher started on a machine without a GPU would not find each other.
        accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=wanted)
    except ValueError as error:
        raise _no_precision(wanted) from error
    if wanted != "no" and not accelerator.native_amp:  # accelerate would compute in float32, and say nothing
        raise _no_precision(wanted)
    if accelerator.num_processes != (started := int(os.environ.get("WORLD_SIZE", "1"))):
        raise UsageError(
            f"{started} processes were started, of which {accelerator.num_processes} found each other.",
            hint="Start them with accelerate launch or torchrun; else every one would evaluate everything.",
        )
    return accelerator


def _no_precision(wanted: str) -> UsageError:
    return UsageError(f"--mixed-precision {wanted} does not work on this machine.", hint="bf16 works on CPUs, too.")


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything that stays the same during one evaluation."""

    request: EvaluationRequest
    accelerator: Accelerator
    loaded: LoadedFolder
    source: Source
    rows: ClassRows
    variants: Sequence[Variant]
    say: Say

    def outcome(self, stack: ExitStack) -> Outcome | None:
        plan = self._plan()
        self._check_same_everywhere(plan)
        tally = Tally(self.variants)
        journal = self._journal(stack, plan, tally)
        pending = self._pending(plan, tally)
        clock = _Clock()
        for records in self._rounds(plan, pending, clock):
            for record in records:
                tally.add(record)
                if journal is not None:
                    journal.append(record)
        throughput = self._throughput(plan.files_in(pending), clock)
        if not self.accelerator.is_main_process:
            return None
        evaluation = self._evaluation(plan, tally)
        if self.request.write_card:
            self.say("Writing the numbers into the card")
            write_to_card(self.loaded.path, self.loaded.task, evaluation, self.request)
        return Outcome(evaluation, throughput)

    def _plan(self) -> Plan:
        from byteformer_convert.evaluation.batching import Plan

        files = len(self.source.items)
        limit = files if self.request.limit is None else self.request.limit
        return Plan(min(files, limit), self.request.batch_size, self.request.padded)

    def _subject(self, plan: Plan) -> dict[str, Any]:
        """What makes this evaluation what it is; a journal of another one is refused."""
        papers = {CARD_NAME, REPORT_NAME}  # they may say more by now, and change no number
        files = [file.to_dict() for file in record_files(self.loaded.path) if file.name not in papers]
        request = self.request
        return {
            "version": __version__,
            "folder": hashlib.sha256(repr(files).encode()).hexdigest(),
            "data": self.source.digest(),
            "files": plan.files,
            "class_rows": list(self.rows.rows),
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
        if self.request.journal is None or not self.accelerator.is_main_process:
            return None
        journal = stack.enter_context(Journal(self.request.journal, self._subject(plan)))
        for record in journal.finished():
            tally.add(record)
        return journal

    def _pending(self, plan: Plan, tally: Tally) -> list[int]:
        """The batches that are left, as the main process knows them."""
        from accelerate.utils import broadcast_object_list

        finished: frozenset[int] = broadcast_object_list([tally.batches])[0]
        if finished:
            self.say(f"{plan.files_in(sorted(finished)):,} of {plan.files:,} files were done before")
        return [batch for batch in range(plan.batches) if batch not in finished]

    def _rounds(self, plan: Plan, pending: list[int], clock: _Clock) -> Iterator[list[BatchRecord]]:
        """One batch a process at a time; the records of all of them."""
        from accelerate.utils import gather_object
        from torch.backends import cudnn

        scorer = self._scorer()
        progress = Progress(plan.files, plan.files - plan.files_in(pending), self.say)
        self.say(f"Evaluating {plan.files:,} files")
        with (
            self.accelerator.split_between_processes(pending) as mine,
            cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),  # float32 means float32
        ):
            batches = clock.waiting(self._encoded(plan, mine))
            for _ in range(math.ceil(len(pending) / self.accelerator.num_processes)):
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

        model = self.loaded.model.to(self.accelerator.device)
        mixed = self.request.mixed_precision != "no"
        items, rows = self.source.items, self.rows.rows
        return Scorer(
            variant_models(model, self.variants),
            lambda index: rows[items.class_index(index)],
            self.accelerator.device,
            self.accelerator.autocast if mixed else None,
        )

    def _evaluation(self, plan: Plan, tally: Tally) -> Evaluation:
        request = self.request
        scores = tally.scores(self.loaded.labels)
        broken = tuple(BrokenFile(self.source.items.name(index), reason) for index, reason in tally.broken())
        if not scores[0].top1.of:
            raise FileInputError(
                f"none of its {plan.files:,} files can be used; the first: {broken[0].name}: {broken[0].reason}",
                where=request.data,
                hint="--raw takes files as they are, without decoding them.",
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

    def _throughput(self, files: int, clock: _Clock) -> Throughput:
        from accelerate.utils import gather_object

        clocks: list[_Clock] = gather_object([clock.stopped()])
        total = sum(one.seconds for one in clocks) or 1e-9
        return Throughput(
            files=files,
            seconds=max(one.seconds for one in clocks),
            model_share=sum(one.model for one in clocks) / total,
            waiting_share=sum(one.wait for one in clocks) / total,
            encoding_seconds=sum(one.encoding for one in clocks) / max(files, 1),
            processes=self.accelerator.num_processes,
            workers=self.request.workers,
            peak_memory=max(one.peak_memory for one in clocks),
        )


@dataclass(slots=True)
class _Clock:
    """Where one process' time goes."""

    start: float = 0.0
    seconds: float = 0.0
    model: float = 0.0
    wait: float = 0.0
    encoding: float = 0.0
    peak_memory: int = 0

    def waiting(self, batches: Iterator[EncodedBatch]) -> Iterator[EncodedBatch]:
        self.start = before = time.perf_counter()
        for batch in batches:
            self.wait += time.perf_counter() - before
            self.encoding += batch.seconds
            yield batch
            before = time.perf_counter()

    def computing(self, scorer: Scorer, batch: EncodedBatch) -> BatchRecord:
        before = time.perf_counter()
        record = scorer.score(batch)
        self.model += time.perf_counter() - before
        return record

    def stopped(self) -> _Clock:
        seconds = time.perf_counter() - self.start if self.start else 0.0
        return replace(self, seconds=seconds, peak_memory=_peak_memory())


def _peak_memory() -> int:
    """Of this process, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
