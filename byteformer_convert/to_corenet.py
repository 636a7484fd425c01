"""The way back: a converted or fine-tuned folder to a CoreNet `.pt` and its YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from byteformer_convert.corenet.option_table import shown
from byteformer_convert.corenet.options import options_from_mapping
from byteformer_convert.corenet.state_dict import expected_shapes, find_mismatches
from byteformer_convert.errors import FolderError, MappingError, UsageError
from byteformer_convert.output.finished import read_object, read_processor, usable_config
from byteformer_convert.output.folder import PROCESSOR_NAME, FileRecord, file_record
from byteformer_convert.output.placed_files import placed_files, refuse_existing
from byteformer_convert.output.staging import REPORT_NAME
from byteformer_convert.output.weight_files import read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from byteformer_convert.checking import Say
    from byteformer_convert.corenet.options import CoreNetOptions

ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
KEPT_OPTIONS: Final = ("ema.enable",)  # in no file of the folder but the report

_SEQUENCE: Final = "tag:yaml.org,2002:seq"

HEADER: Final = """\
# CoreNet's options for {weights}: what the model is, and how files become bytes.
# To train or evaluate, add dataset.name, the dataset's folders and the options of training.
"""


@dataclass(frozen=True, slots=True)
class CoreNetFiles:
    """A finished way back.

    Attributes:
        weights: The `.pt`: a plain state dict with CoreNet's names.
        config: The YAML beside it.
        tensors: How many the state dict holds.
        parameters: How many numbers they are.
        dtype: Of the tensors.
        options: What the YAML says, as CoreNet resolves it.
        notes: Sentences that a person should read.
    """

    weights: FileRecord
    config: FileRecord
    output: Path
    tensors: int
    parameters: int
    dtype: str
    options: Mapping[str, Any]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"output": str(self.output)}


def to_corenet(folder: Path, output: Path, *, force: bool = False, say: Say = lambda message: None) -> CoreNetFiles:
    """Writes a folder's model as CoreNet saves one.

    Args:
        folder: What `convert` wrote, or what `save_pretrained` made of it after fine-tuning, with whatever classes.
        output: The `.pt` to write. The YAML goes beside it, with the suffix `.yaml`.
        force: Whether to replace files that are there already.
        say: Is told what happens.

    Raises:
        UsageError: `output` has a YAML's name.
        FolderError: The folder cannot be read, or CoreNet's ByteFormer cannot express what is in it.
        OutputError: An output is there already, or cannot be written.
    """
    config_output = _config_output(output)
    refuse_existing((output, config_output), force=force)
    _refuse_adapter(folder)  # first: a folder with nothing but an adapter has no config.json to read
    config = usable_config(folder)
    say("Reading the folder")
    report, tensors = _read_report(folder), _mapped_back(folder)
    processor = read_processor(folder)
    flat = _flat_options(config, processor, report, tensors, folder)
    options = options_from_mapping(flat, source=folder.name)
    state = _in_order(tensors, options, folder)
    say("Writing the checkpoint and its YAML")
    with placed_files((output, config_output), force=force) as (weights_file, config_file):
        _write_state(state, weights_file)
        config_file.write_text(HEADER.format(weights=output.name) + _as_yaml(flat), encoding="utf-8")
    return CoreNetFiles(
        weights=file_record(output),
        config=file_record(config_output),
        output=output,
        tensors=len(state),
        parameters=sum(tensor.numel() for tensor in state.values()),
        dtype=", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})),
        options=options.resolved(),
        notes=_notes(report, processor, options, state),
    )


def _config_output(output: Path) -> Path:
    if output.suffix in (".yaml", ".yml"):
        raise UsageError(f"--output is {output.name}, a YAML's name.", hint="Name the .pt; its YAML goes beside it.")
    return output.with_suffix(".yaml")


def _refuse_adapter(folder: Path) -> None:
    if found := [name for name in ADAPTER_FILES if (folder / name).is_file()]:
        raise FolderError(
            f"CoreNet cannot express this folder: it holds a PEFT adapter ({found[0]}), which is not merged.",
            where=folder,
            hint="Merge it first: model.merge_and_unload().save_pretrained(...), and give that folder.",
        )


def _read_report(folder: Path) -> Mapping[str, Any]:
    """What the conversion wrote down; empty where there is nothing, as in a folder that was fine-tuned since."""
    return read_object(folder / REPORT_NAME) if os.path.lexists(folder / REPORT_NAME) else {}


def _mapped_back(folder: Path) -> dict[str, Tensor]:
    """The folder's tensors under CoreNet's names."""
    from byteformer_convert.corenet.tensor_checks import checked_tensors
    from byteformer_convert.mapping.weights import source_names, unmap_weights

    tensors = checked_tensors(read_weights(folder), where=folder.name)
    try:
        return dict(unmap_weights(tensors, dict.fromkeys(source_names(tensors))))
    except MappingError as error:
        raise FolderError(
            f"CoreNet cannot express this folder: {error.where}: {error.message}.",
            where=folder,
            hint="A model with added layers cannot go back; merge adapters into the weights first.",
        ) from error


def _flat_options(
    config: Mapping[str, Any],
    processor: Mapping[str, Any] | None,
    report: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    folder: Path,
) -> dict[str, Any]:
    from byteformer_convert.mapping.way_back import corenet_options

    if "classifier.weight" not in tensors:
        raise FolderError(
            "CoreNet cannot express this folder: it has no classifier, and CoreNet's ByteFormer always has one.",
            where=folder,
            hint="Give the folder of a ByteFormerForImageClassification or ByteFormerForAudioClassification.",
        )
    flat = corenet_options(config, processor, len(tensors["classifier.weight"]), where=folder.name)
    kept = report.get("options")
    kept = kept if isinstance(kept, dict) else {}
    return flat | {key: kept[key] for key in KEPT_OPTIONS if key in kept}


def _in_order(tensors: Mapping[str, Tensor], options: CoreNetOptions, folder: Path) -> dict[str, Tensor]:
    """In CoreNet's order, once it is sure that CoreNet would load exactly these."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if mismatches := find_mismatches(shapes, options):
        raise MappingError(
            f"its weights do not fit its config.json: {mismatches[0].name} is {mismatches[0].problem}.",
            mismatches=mismatches,
            where=folder,
        )
    return {name: tensors[name] for name in expected_shapes(options)}


def _write_state(state: Mapping[str, Tensor], path: Path) -> None:
    import torch

    # Through an open file: given a path, torch writes the file's own name into the archive.
    with path.open("wb") as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # as torch ends a file that it could not write; why comes before it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _as_yaml(flat: Mapping[str, Any]) -> str:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return yaml.dump(nested, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Lists in one line, as CoreNet's own YAMLs are easiest to read."""


_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(_SEQUENCE, value, flow_style=True))


def _notes(
    report: Mapping[str, Any],
    processor: Mapping[str, Any] | None,
    options: CoreNetOptions,
    state: Mapping[str, Tensor],
) -> tuple[str, ...]:
    notes = []
    trimmed = report.get("trimmed_positions")
    if isinstance(trimmed, dict):
        before, after = shown(trimmed.get("from")), shown(trimmed.get("to"))
        notes.append(
            f"The position table was cut from {before} to {after} rows when the folder was converted, "
            f"so max_num_tokens is {options.max_num_tokens}."
        )
    if processor is None:
        notes.append(f"The folder has no {PROCESSOR_NAME}: the YAML does not say how files become bytes.")
    if any(tensor.element_size() < 4 for tensor in state.values()):
        notes.append("The tensors are in half precision; CoreNet copies them into float32 parameters.")
    return tuple(notes)
