"""A converted folder as its users load it: the model, the processor and the class names, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.errors import FolderError, MachineError, UsageError
from byteformer_convert.machine import lack_behind
from byteformer_convert.mapping.config import TASK_CLASSES
from byteformer_convert.mapping.weights_fit import weights_misfits
from byteformer_convert.output.finished import check_code, read_processor, usable_config
from byteformer_convert.output.weight_files import weight_shapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROCESSOR_CLASSES = {"image": "AutoImageProcessor", "audio": "AutoFeatureExtractor"}
OUR_PROCESSORS = {"image": "ByteFormerImageProcessor", "audio": "ByteFormerFeatureExtractor"}


@dataclass(frozen=True, slots=True)
class LoadedFolder:
    """A folder that is ready to classify files.

    Attributes:
        path: The folder.
        task: `image` or `audio`.
        model: In evaluation mode.
        processor: Files to byte ids.
        labels: One name per class, in the order of the classifier's rows.
    """

    path: Path
    task: str
    model: PreTrainedModel
    processor: Any
    labels: tuple[str, ...]


def load_folder(folder: Path, *, trust_remote_code: bool = False, dtype: str = "float32") -> LoadedFolder:
    """Loads a converted folder through transformers' Auto classes, which run the folder's own code.

    Args:
        folder: A converted folder.
        trust_remote_code: Whether to run its code even where it is not this version's.
        dtype: Of the arithmetic; `auto` is that of the weights.

    Raises:
        FolderError: It is not a converted folder, its code is not this version's, or it cannot be loaded.
    """
    config = usable_config(folder)
    task = folder_task(folder, config)
    read_processor(folder)
    if not check_code(folder, task, "Loading", trust_remote_code=trust_remote_code):
        check_size(folder, config)
    try:
        model = _load_model(folder, task, dtype)
        processor = load_processor(folder, task)
        _check_classes(model, processor, task)
    except Exception as error:  # transformers, safetensors and a changed folder's code raise anything
        raise (lack_behind(error) or _cache_error(error, folder) or _load_error(error, folder)) from error
    names: Any = model.config.id2label
    return LoadedFolder(folder, task, model, processor, tuple(names[index] for index in sorted(names)))


def check_encoding(loaded: LoadedFolder) -> None:
    """Refuses a folder that cannot encode files here, before any is read.

    Raises:
        UsageError: It does not say how, or what does it is not installed.
    """
    processor = loaded.processor
    if getattr(processor, "file_encoding", None) is None and getattr(processor, "file_format", None) is None:
        raise UsageError(
            "does not say how files are encoded: its checkpoint's YAML has no encoding enabled.",
            where=loaded.path,
            hint="Give --raw to feed the files' own bytes.",
        )
    if getattr(processor, "file_format", None) == "mp3":
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "was trained on MP3, which PyAV encodes; it is not installed.",
                where=loaded.path,
                hint='pip install "byteformer-convert[mp3]", or give MP3 files with --raw.',
            ) from error


def in_commands_words(message: str) -> str:
    """A processor's message, which speaks to people who call it from Python."""
    return message.replace("pass raw=True", "give --raw")


def folder_task(folder: Path, config: dict[str, Any]) -> str:
    """`image` or `audio`, from config.json's auto_map.

    Raises:
        FolderError: It names neither task's class.
    """
    auto_map = config.get("auto_map") or {}
    for task, (auto_class, _) in TASK_CLASSES.items():
        if auto_class in auto_map:
            return task
    raise FolderError(
        "config.json's auto_map names no classifier.", where=folder, hint="Give a folder that byteformer-convert wrote."
    )


def check_size(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuses a config.json whose model is not as large as the weights: it would be built before they are read.

    Raises:
        FolderError: Says every such field.
    """
    if misfits := list(weights_misfits(config, weight_shapes(folder))):
        raise FolderError(f"cannot be loaded: {'; '.join(misfits)}.", where=folder)


def load_processor(folder: Path, task: str) -> Any:
    """The folder's processor; its code has to be checked before."""
    import transformers

    auto_class = getattr(transformers, PROCESSOR_CLASSES[task])
    return auto_class.from_pretrained(str(folder.resolve()), trust_remote_code=True, local_files_only=True)


def _check_classes(model: Any, processor: Any, task: str) -> None:
    """An auto_map may name another class of the same file, or none, so that transformers takes one of its own."""
    for given, wanted in ((model, TASK_CLASSES[task][1]), (processor, OUR_PROCESSORS[task])):
        if type(given).__name__ != wanted:
            raise ValueError(f"its JSON files ask for a {type(given).__name__}, not for a {wanted}")


def _load_error(error: Exception, folder: Path) -> FolderError:
    hint = "Give a folder as byteformer-convert or save_pretrained wrote it."
    return FolderError(f"cannot be loaded: {type(error).__name__}: {error}", where=folder, hint=hint)


def _cache_error(error: Exception, folder: Path) -> MachineError | None:
    """transformers copies the folder's code into a cache of its own before it runs it."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return None
    if Path(error.filename).resolve().is_relative_to(folder.resolve()):
        return None
    return MachineError(
        f"cannot be written: {error.strerror}. transformers keeps a copy of the folder's code there.",
        where=error.filename,
        hint="Set HF_HOME or HF_MODULES_CACHE to a folder that you may write to.",
    )


def _load_model(folder: Path, task: str, dtype: str) -> PreTrainedModel:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    auto_class = getattr(transformers, TASK_CLASSES[task][0])
    model, info = auto_class.from_pretrained(
        str(folder.resolve()),
        trust_remote_code=True,
        local_files_only=True,
        dtype=dtype,
        output_loading_info=True,
    )
    # from_pretrained only warns about these, and leaves what is missing at random values.
    if left := {name: sorted(map(str, found)) for name, found in info.items() if found}:
        raise ValueError(f"its weights do not fill its model: {left}")
    return model.eval()
