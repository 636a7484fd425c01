"""Turns CoreNet ByteFormer checkpoints into folders that transformers loads, and proves that the numbers are equal.

YAML -> corenet.options    -> CoreNetOptions -> mapping.config, .processor -> config.json, preprocessor_config.json
.pt  -> corenet.checkpoint -> Checkpoint     -> mapping.weights            -> model.safetensors
both -> conversion         -> output.folder  -> a folder; parity compares it with `reference` on the raw .pt
report draws what the others return, cli parses and prints; bundled is copied as it stands into every folder.

Scripts call `convert`, `verify`, `inspect` and `predict`; these, their results and the errors are all that is public.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byteformer_convert.api import (
        ByteFormerConvertError,
        CaseResult,
        CheckpointError,
        Conversion,
        DownloadError,
        FileInputError,
        FilePrediction,
        FileRecord,
        FolderError,
        HubError,
        InputError,
        Inspection,
        LabelsError,
        MachineError,
        ManifestError,
        MappingError,
        Mismatch,
        OptionsError,
        OutputError,
        ParityError,
        ParityReport,
        Prediction,
        StageResult,
        TensorFamily,
        UsageError,
        Verification,
        WeightsResult,
        convert,
        inspect,
        predict,
        verify,
    )

__version__ = "0.1.0"

__all__ = [
    "ByteFormerConvertError",
    "CaseResult",
    "CheckpointError",
    "Conversion",
    "DownloadError",
    "FileInputError",
    "FilePrediction",
    "FileRecord",
    "FolderError",
    "HubError",
    "InputError",
    "Inspection",
    "LabelsError",
    "MachineError",
    "ManifestError",
    "MappingError",
    "Mismatch",
    "OptionsError",
    "OutputError",
    "ParityError",
    "ParityReport",
    "Prediction",
    "StageResult",
    "TensorFamily",
    "UsageError",
    "Verification",
    "WeightsResult",
    "__version__",
    "convert",
    "inspect",
    "predict",
    "verify",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's

    def __getattr__(name):
        """Whoever wants the version alone pays for nothing else."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("byteformer_convert.api"), name)

    def __dir__():
        return sorted({*globals(), *__all__})
