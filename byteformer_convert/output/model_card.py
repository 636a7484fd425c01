"""README.md of a converted folder, for somebody who never heard of CoreNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from byteformer_convert.corenet.published import TABLE_URL
from byteformer_convert.output import card_sections as sections

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions
    from byteformer_convert.corenet.published import PublishedCheckpoint

TASKS = {"image": "image-classification", "audio": "audio-classification"}
AUTO_CLASSES = {"image": "AutoModelForImageClassification", "audio": "AutoModelForAudioClassification"}
PROCESSORS = {"image": "AutoImageProcessor", "audio": "AutoFeatureExtractor"}
THINGS = {"image": "images", "audio": "sounds"}

# CoreNet's licence is Apple's sample-code text; no other one comes with the published weights.
PUBLISHED_LICENSE = "apple-ascl"
LICENSE_LINK = "https://github.com/apple/corenet/blob/main/LICENSE"

# They need no file of anybody's. "." is the folder itself; a push puts the repository's name there.
SNIPPETS = {
    "image": """\
import PIL.Image
from transformers import pipeline

classify = pipeline("image-classification", model=".", trust_remote_code=True)
print(classify(PIL.Image.radial_gradient("L").convert("RGB")$resize))  # or classify("picture.jpg")""",
    "audio": """\
import numpy
from transformers import pipeline

classify = pipeline("audio-classification", model=".", trust_remote_code=True)
print(classify(numpy.zeros(16000, dtype="float32")))  # or classify("sound.wav"), which takes ffmpeg""",
}


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
        processor: The content of preprocessor_config.json.
        published: The published checkpoint that it is, None for anybody's own.
    """

    name: str
    options: CoreNetOptions
    parameters: int
    parity: Mapping[str, Any]
    report: Mapping[str, Any]
    license: str | None = None
    processor: Mapping[str, Any] = field(default_factory=dict)
    published: PublishedCheckpoint | None = None


def model_card(facts: CardFacts) -> str:
    """The whole README.md, metadata first."""
    template = Template(resources.files("byteformer_convert.output").joinpath("model_card.md").read_text("utf-8"))
    options = facts.options
    return template.substitute(
        metadata=yaml.safe_dump(_metadata(facts), sort_keys=True, allow_unicode=True).strip(),
        name=facts.name,
        things=THINGS[options.task],
        format=sections.format_name(facts.processor),
        about=sections.paragraph(_about(facts)),
        snippet=_snippet(facts),
        raw_use=_raw_use(options.task),
        bytes_made=sections.bytes_made(facts.processor),
        tokens_made=sections.paragraph(_tokens_made(options)),
        positions=sections.positions(
            options,
            facts.parameters,
            str(facts.parity.get("dtype", "float32")),
            facts.report.get("trimmed_positions"),
        ),
        switch_snippet=_switch_snippet(options.task),
        norm_item=_norm_item(options),
        parity=_parity(facts.parity),
        provenance=_provenance(facts),
        license_note=sections.paragraph(_license_note(facts)),
    )


def _metadata(facts: CardFacts) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "transformers",
        "metrics": ["accuracy"],
        "pipeline_tag": TASKS[facts.options.task],
        "tags": ["byteformer", "corenet", "custom_code"],
    }
    if facts.license is not None:
        metadata["license"] = facts.license
    elif facts.published is not None:
        metadata |= {"license": PUBLISHED_LICENSE, "license_link": LICENSE_LINK}
    if facts.published is not None:
        metadata |= {"datasets": [facts.published.dataset], "model-index": [_model_index(facts, facts.published)]}
    return metadata


def _model_index(facts: CardFacts, published: PublishedCheckpoint) -> dict[str, Any]:
    task = TASKS[facts.options.task]
    result = {
        "task": {"type": task},
        "dataset": {"name": published.data, "type": published.dataset, "split": published.split},
        "metrics": [{"type": "accuracy", "name": "Top-1 accuracy (%)", "value": published.top1}],
        "source": {"name": "CoreNet, pre-trained ByteFormer models", "url": TABLE_URL},
    }
    return {"name": facts.name, "results": [result]}


def _about(facts: CardFacts) -> str:
    options = facts.options
    size = f"mode `{options.mode}`, {facts.parameters:,} parameters, {options.n_classes:,} classes"
    published = facts.published
    if published is None:
        return f"It is somebody's own model: {size}. What it was trained on, the converter was not told."
    return (
        f"It is Apple's published checkpoint `{published.file}`: {size}, trained on {published.data}. CoreNet's "
        f"authors report {published.top1:.2f} % top-1 accuracy ([source]({TABLE_URL})); the conversion "
        "did not measure it."
    )


def _snippet(facts: CardFacts) -> str:
    side = sections.largest_side(facts.options, facts.processor)
    return Template(SNIPPETS[facts.options.task]).substitute(
        resize="" if side is None else f".resize(({side}, {side}))"
    )


def _raw_use(task: str) -> str:
    return (
        "Files that are in the model's own encoding already can go in as they are:\n\n"
        "```python\n"
        f"from transformers import {', '.join(sorted((AUTO_CLASSES[task], PROCESSORS[task])))}\n\n"
        f'model = {AUTO_CLASSES[task]}.from_pretrained(".", trust_remote_code=True)\n'
        f'processor = {PROCESSORS[task]}.from_pretrained(".", trust_remote_code=True)\n'
        'inputs = processor(open("FILE", "rb").read(), return_tensors="pt")\n'
        "print(model.config.id2label[model(**inputs).logits.argmax(-1).item()])\n"
        "```"
    )


def _tokens_made(options: CoreNetOptions) -> str:
    return (
        f"A token is made of {options.conv_kernel_size} bytes, and a new one starts every {options.stride} bytes; "
        f"{options.num_layers} layers follow, and after {sum(options.downsample)} of them pairs of tokens are merged."
    )


def _switch_snippet(task: str) -> str:
    name = AUTO_CLASSES[task]
    load = f'model = {name}.from_pretrained(".", trust_remote_code=True, mask_padding=True)'
    return f"from transformers import {name}\n\n{load}"


def _norm_item(options: CoreNetOptions) -> str:
    text = (
        f"- `last_axis_layer_norm`: where exactly as many tokens as channels ({options.embed_dim}) reach a norm, "
        f"CoreNet normalises over the tokens instead of the channels. {sections.norm_lengths(options)} With the "
        "switch, norms always run over the channels."
    )
    return sections.paragraph(text, indent="  ")


def _license_note(facts: CardFacts) -> str:
    if facts.license is not None:
        return f"The weights are under the licence named above (`{facts.license}`)."
    if facts.published is not None:
        return (
            f"The weights are Apple's. CoreNet is under the [Apple Sample Code License]({LICENSE_LINK}), and no other "
            "licence comes with the weights. A conversion changes nothing about that."
        )
    return (
        "**The licence of these weights was not stated when they were converted.** Ask whoever trained them before you "
        "use or share them."
    )


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
            f"All {weights['tensors']} tensors, mapped back, equal the checkpoint's bit for bit. The table says how",
            "far a logit of this folder, loaded in a fresh process, is from CoreNet's arithmetic on the original",
            "checkpoint (float32, CPU), and how far float32 itself is from float64 (the noise floor). Both are rounded",
            "up to a power of ten, 1e-05 at least, a difference to no more than what was allowed: what lies below",
            "depends on the processor, and `byteformer-convert verify` shows it.",
            "",
            "| input | bytes | difference, at most | allowed | noise floor, at most |",
            "|---|---|---|---|---|",
            *rows,
            left_out,
        ]
    ).rstrip()


def _provenance(facts: CardFacts) -> str:
    report = facts.report
    sources = [f"- `{file['name']}`, {file['size']:,} bytes, sha256 `{file['sha256']}`" for file in report["sources"]]
    if facts.published is not None:
        sources.append(f"- published by Apple at <{facts.published.url}>")
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    tool = report["tool"]
    return "\n".join(
        [
            f"Converted from {report['checkpoint']['choice']}:",
            "",
            *sources,
            "",
            f"With {tool['name']} {tool['version']}; tested with {versions}.",
        ]
    )
