"""The card: what it claims is so, its metadata is the Hub's, and its code runs as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.conversion import Request, convert
from byteformer_convert.corenet.options import load_options
from byteformer_convert.corenet.published import PUBLISHED, config_path
from byteformer_convert.corenet.state_dict import expected_shapes
from byteformer_convert.demo import generated_weights
from byteformer_convert.mapping.config import SWITCHES, model_fields
from byteformer_convert.mapping.processor import processor_fields
from byteformer_convert.output.card_sections import max_bytes, norm_lengths
from byteformer_convert.output.card_text import metadata_of, with_name
from byteformer_convert.output.model_card import CardFacts, model_card
from tests.worlds import make_options

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

SKIPPED = {"verdict": "skipped", "dtype": "float32"}
CASE = {"name": "odd", "lengths": [1223], "max_difference": 1.2e-06, "tolerance": 2e-05, "noise_floor": 8e-07}
PASSED = {"verdict": "passed", "dtype": "float32", "weights": {"tensors": 169}, "cases": [CASE], "left_out": []}
REPORT = {
    "sources": [{"name": "w.pt", "size": 1234567, "sha256": "ab" * 32}],
    "versions": {"torch": "2.13.0"},
    "tool": {"name": "byteformer-convert", "version": "0.1.0"},
    "checkpoint": {"choice": "the EMA weights"},
}


def make_card(options: CoreNetOptions, **fields: Any) -> str:
    facts = {"name": "a", "parameters": 5_900_000, "parity": PASSED, "report": REPORT}
    return model_card(CardFacts(options=options, processor=processor_fields(options), **facts | fields))


def published_card(name: str, **fields: Any) -> str:
    return make_card(load_options(config_path(name)), name=name, published=PUBLISHED[name], **fields)


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def code_blocks(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_card_of_a_published_checkpoint_says_where_its_accuracy_is_from(name: str) -> None:
    card = ModelCard(published_card(name))
    metadata, checkpoint = card.data, PUBLISHED[name]
    assert metadata.library_name == "transformers"
    assert metadata.pipeline_tag == f"{checkpoint.task}-classification"
    assert (metadata.license, metadata.datasets) == ("apple-ascl", [checkpoint.dataset])
    assert metadata.license_link.endswith("/apple/corenet/blob/main/LICENSE")
    (result,) = metadata.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == (
        "accuracy",
        checkpoint.top1,
        checkpoint.split,
    )
    assert result.source_url.startswith("https://github.com/apple/corenet/")
    assert f"{checkpoint.top1:.2f} %" in card.text
    assert "$" not in card.text


def test_no_licence_is_invented_for_anybodys_own_weights() -> None:
    card = make_card(make_options())
    metadata = metadata_of(card)
    assert metadata is not None
    assert not {"license", "license_link", "model-index", "datasets"} & metadata.keys()
    assert "**The licence of these weights was not stated" in section(card, "Licence")


def test_a_licence_that_was_given_is_named() -> None:
    for card in (make_card(make_options(), license="mit"), published_card("imagenet_tiff", license="mit")):
        metadata = metadata_of(card)
        assert metadata is not None
        assert metadata["license"] == "mit"
        assert "license_link" not in metadata
        assert "`mit`" in section(card, "Licence")


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("imagenet_jpeg_q60_k4_w128", ["JPEG file of quality 60", "shorter side to 256", "224 × 224"]),
        ("imagenet_tiff", ["a TIFF file"]),
        ("imagenet_shuffle_bytes_reverse", ["reverse the order of the bytes"]),
        ("imagenet_obfuscation", ["from -20 to 20 to each byte", "the same permutation"]),
        ("imagenet_privacy_preserving_camera_k4_f0.05", ["keep 0.05 of the bytes"]),
        ("speech_commands_wav", ["16,000 samples per second", "WAV file of float32 samples"]),
        ("speech_commands_mp3_k4_w32", ["as an MP3 file"]),
    ],
)
def test_the_card_says_how_the_bytes_are_made(name: str, steps: list[str]) -> None:
    text = section(published_card(name), "How the bytes are made")
    for step in steps:
        assert step in text


def test_the_card_shows_parity_or_that_it_was_skipped() -> None:
    passed = section(make_card(make_options()), "Parity with CoreNet")
    assert "All 169 tensors" in passed
    assert "| odd | 1,223 | 1.2e-06 | 2e-05 | 8e-07 |" in passed
    skipped = section(make_card(make_options(), parity=SKIPPED), "Parity with CoreNet")
    assert "**The check was skipped" in skipped
    assert "bit for bit" not in skipped


def test_the_card_names_every_switch_and_where_the_weights_are_from() -> None:
    card = make_card(make_options())
    for switch in SWITCHES:
        assert f"- `{switch}`: " in section(card, "What the numbers contain")
    assert f"`w.pt`, 1,234,567 bytes, sha256 `{'ab' * 32}`" in section(card, "Provenance")
    assert "torch 2.13.0" in section(card, "Provenance")


# The lengths at which CoreNet's own last norm was seen to run over the wrong axis.
@pytest.mark.parametrize(("kernel", "span"), [(4, "24,452 to 24,579"), (8, "48,904 to 49,159")])
def test_the_card_tells_which_files_meet_the_norm_over_the_wrong_axis(kernel: int, span: str) -> None:
    options = make_options(conv_kernel_size=kernel, max_num_tokens=50_000)
    assert f"In the last norm, which then averages the content away, for files of {span} bytes." in norm_lengths(
        options
    )


def test_files_too_long_for_the_positions_are_not_said_to_meet_that_norm() -> None:
    assert "No file that fits" in norm_lengths(make_options(max_num_tokens=191))
    assert "last norm" not in norm_lengths(make_options(max_num_tokens=12_000))
    assert "in every file" in norm_lengths(make_options(window_sizes=[192]))


@pytest.mark.parametrize("kernel", [2, 4, 5, 32])
def test_the_card_and_the_model_agree_on_the_longest_file(kernel: int) -> None:
    options = make_options(conv_kernel_size=kernel, max_num_tokens=100)
    assert max_bytes(options) == ByteFormerConfig(**model_fields(options)).max_bytes


def test_positions_and_their_share_of_the_weights_are_those_of_the_tensors() -> None:
    options = make_options(max_num_tokens=50_000, conv_kernel_size=4)
    shapes = expected_shapes(options)
    parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
    text = " ".join(section(make_card(options, parameters=parameters), "Positions and memory").split())
    table = torch.Size(shapes["pos_embed.pos_embed.pos_embed"]).numel()
    assert f"{parameters * 4 / 1e6:.1f} MB (float32), of which the position table is {table * 4 / 1e6:.1f} MB" in text
    assert "| 10,000 | 4,999 | 3.8 MB |" in text


@pytest.mark.parametrize(
    "card", ["", "# A", "---\na: b\n", "---\n- a\n---\n", "---\na: [\n---\n", "a\n---\nb: c\n---\n"]
)
def test_what_is_no_metadata_is_not_taken_for_it(card: str) -> None:
    assert metadata_of(card) is None


def test_a_name_is_put_into_the_code_and_nowhere_else() -> None:
    card = make_card(make_options())
    named = with_name(card, "ada/m")
    assert with_name(named, ".") == card
    changed = [line for line, old in zip(named.splitlines(), card.splitlines(), strict=True) if line != old]
    assert len(changed) == 4
    assert all("trust_remote_code=True" in line for line in changed)


RUN_BLOCKS = """
import os, re, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    for block in re.findall(r"```python\\n(.*?)```", open("README.md").read(), re.DOTALL):
        exec(block, {})
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An image model that takes pictures of any size, and a sound model: few positions, generated weights."""
    place = tmp_path_factory.mktemp("cards")
    image = place / "image.yaml"
    pil_save = {"enable": True, "file_encoding": "fHWC"}
    byteformer = {"mode": "tiny", "max_num_tokens": 700, "conv_kernel_size": 4, "window_sizes": [32]}
    model = {"classification": {"name": "byteformer", "n_classes": 6, "byteformer": byteformer}}
    image.write_text(yaml.safe_dump({"model": model, "image_augmentation": {"pil_save": pil_save}}))
    position = "model.classification.byteformer.max_num_tokens=4100"
    return [
        converted(place, image, ()),
        converted(place, config_path("speech_commands_wav"), (position,)),
    ]


def converted(place: Path, config: Path, overrides: tuple[str, ...]) -> Path:
    weights, output = place / f"{config.stem}.pt", place / config.stem
    torch.save(generated_weights(load_options(config, overrides), seed=0), weights)
    convert(Request(config=config, weights=weights, output=output, overrides=overrides, skip_parity=True))
    return output


@pytest.mark.slow
def test_all_code_on_the_card_runs_as_pasted(folders: list[Path], tmp_path: Path) -> None:
    for folder in folders:
        assert len([line for line in code_blocks((folder / "README.md").read_text())[0].splitlines() if line]) == 4
        (folder / "FILE").write_bytes(bytes(range(200)) * 2)
    command = [sys.executable, "-P", "-c", RUN_BLOCKS, *map(str, folders)]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    classes = result.stdout.splitlines()  # the pipeline's, then that of the raw bytes, for each folder
    assert [line.startswith("[{") for line in classes] == [True, False, True, False]
