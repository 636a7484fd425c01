"""README.md of a converted folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

TASKS = {"image": "image-classification", "audio": "audio-classification"}
AUTO_CLASSES = {"image": "AutoModelForImageClassification", "audio": "AutoModelForAudioClassification"}
PROCESSORS = {"image": "AutoImageProcessor", "audio": "AutoFeatureExtractor"}
INPUTS = {
    "image": 'image = PIL.Image.open("picture.jpg")\ninputs = processor(image, return_tensors="pt")',
    "audio": 'waveform = numpy.zeros(16000, dtype="float32")  # yours, at 16,000 samples per second\n'
    'inputs = processor(waveform, sampling_rate=16000, return_tensors="pt")',
}
IMPORTS = {"image": "import PIL.Image", "audio": "import numpy"}


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card says of one folder.

    Attributes:
        name: Heading.
        options: CoreNet's options.
        parameters: How many numbers the weights are.
        parity: `ParityReport.to_dict()`.
        report: conversion_report.json without the files, for provenance.
        license: An SPDX or Hub licence id, None where nobody said.
    """

    name: str
    options: CoreNetOptions
    parameters: int
    parity: Mapping[str, Any]
    report: Mapping[str, Any]
    license: str | None = None


def model_card(facts: CardFacts) -> str:
    """The whole README.md, metadata first."""
    template = Template(resources.files("byteformer_convert.output").joinpath("model_card.md").read_text("utf-8"))
    options = facts.options
    return template.substitute(
        metadata=yaml.safe_dump(_metadata(facts), sort_keys=True, allow_unicode=True).strip(),
        name=facts.name,
        task=options.task,
        classes=f"{options.n_classes:,}",
        parameters=f"{facts.parameters:,}",
        mode=options.mode,
        kernel=options.conv_kernel_size,
        stride=options.stride,
        positions=f"{options.max_num_tokens:,}",
        max_bytes=f"{_max_bytes(options):,}",
        imports=IMPORTS[options.task],
        auto_class=AUTO_CLASSES[options.task],
        processor=PROCESSORS[options.task],
        inputs=INPUTS[options.task],
        license_note=_license_note(facts.license),
        parity=_parity(facts.parity),
        provenance=_provenance(facts.report),
    )


def _metadata(facts: CardFacts) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": TASKS[facts.options.task],
        "tags": ["byteformer", "corenet", "custom_code"],
    }
    if facts.license is not None:
        metadata["license"] = facts.license
    return metadata


def _license_note(name: str | None) -> str:
    if name is not None:
        return f"The weights are under the licence named above (`{name}`)."
    return (
        "**The licence of these weights was not stated when they were converted.** Ask whoever trained them before you "
        "use or share them."
    )


def _max_bytes(options: CoreNetOptions) -> int:
    return (options.max_num_tokens - 1) * options.stride + options.conv_kernel_size + options.stride - 1


def _parity(parity: Mapping[str, Any]) -> str:
    if parity["verdict"] == "skipped":
        return (
            "**The check was skipped when this folder was written.** Nothing here shows that the numbers are CoreNet's."
        )
    weights = parity["weights"]
    rows = [
        f"| {case['name']} | {', '.join(f'{length:,}' for length in case['lengths'])} "
        f"| {case['max_difference']} | {case['tolerance']} | {case['noise_floor']} |"
        for case in parity["cases"]
    ]
    left_out = "".join(f"\nNot tried: {sentence}.\n" for sentence in parity["left_out"])
    return "\n".join(
        [
            f"All {weights['tensors']} tensors, mapped back, equal the checkpoint's bit for bit. Largest difference of",
            "a logit between this folder, loaded in a fresh process, and CoreNet's arithmetic on the original",
            "checkpoint (float32, CPU; the noise floor is how far float32 itself is from float64):",
            "",
            "| input | bytes | largest difference | allowed | noise floor |",
            "|---|---|---|---|---|",
            *rows,
            left_out,
        ]
    ).rstrip()


def _provenance(report: Mapping[str, Any]) -> str:
    sources = [f"- `{file['name']}`, {file['size']:,} bytes, sha256 `{file['sha256']}`" for file in report["sources"]]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    weights: Mapping[str, Any] = report["checkpoint"]
    return "\n".join(
        [f"Converted from {weights['kind']} files, taking {weights['choice']}:", "", *sources, "", f"With {versions}."]
    )
