"""Pictures and sound made to do harm: each is its own error, the files beside it are classified, and the code is 3."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from typer.testing import CliRunner

from byteformer_convert.bundled.feature_extraction_byteformer import ByteFormerFeatureExtractor, encode_wav
from byteformer_convert.bundled.image_processing_byteformer import ByteFormerImageProcessor
from byteformer_convert.cli import app
from tests.folders import make_folder, write_photo
from tests.hostile.media_targets import pictures

if TYPE_CHECKING:
    from tests.hostile.replay import Replay

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(ran) (w) file\n%%EOF\n"


def png(width: int, height: int, *, content: bytes = b"", kind: int = 0, extra: bytes = b"") -> bytes:
    """A PNG that claims this size, whatever is in it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1 if kind == 0 else 8, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def picture_cases() -> dict[str, bytes]:
    """By name."""
    jpeg = next(data for data in pictures() if data.startswith(b"\xff\xd8"))
    tiff = next(data for data in pictures() if data.startswith(b"II*\0"))
    gif = next(data for data in pictures() if data.startswith(b"GIF"))
    return {
        "a bomb of 2^31 pixels": png(2**31 - 1, 2**31 - 1),
        "a bomb just below the limit": png(13_000, 13_000, content=zlib.compress(bytes(1000))),
        "a bomb of one packed line": png(60_000, 2_900, content=zlib.compress(bytes(22_000_000))),
        "no pixels": png(0, 0),
        "a text of 100 MB": png(4, 4, extra=_packed_text()),
        "cut JPEG": jpeg[:200],
        "JPEG of a claimed size": jpeg.replace(b"\x00\x04\x00\x05", b"\xff\xff\xff\xff"),
        "TIFF of a claimed size": tiff.replace(_tag(256, 5), _tag(256, 65_535)),
        "GIF of a claimed size": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "EPS": EPS,
        "EPS in DOS's wrapping": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0) + EPS,
        "WMF": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PDF": b"%PDF-1.4\n",
        "a program": b"#!/bin/sh\ntouch ran\n",
        "HTML": b"<html>",
        "PPM of a claimed size": b"P6\n99999 99999\n255\n",
        "PPM of digits": b"P3\n" + b"9" * 100_000 + b" 1\n255\n",
        "XBM of a claimed size": b"#define x_width 99999\n#define x_height 99999\nstatic char x_bits[] = {",
        "BMP of minus": b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, -5, -5, 1, 24, 0) + bytes(30),
    }  # fmt: skip


def _tag(name: int, value: int) -> bytes:
    return struct.pack("<HHIH", name, 3, 1, value)


def _packed_text() -> bytes:
    data = b"k\0\0" + zlib.compress(bytes(100 << 20))
    return struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))


def wav(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, data: bytes = bytes(200)) -> bytes:
    """A WAV file whose header says what it is told to."""
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate, 2, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sound_cases() -> dict[str, bytes]:
    """By name."""
    good = encode_wav(np.zeros(50, np.float32), "int16", 16_000)
    return {
        "4 GB claimed": good.replace(b"data" + struct.pack("<I", 100), b"data" + struct.pack("<I", 2**32 - 2)),
        "no channels": wav(channels=0),
        "65,535 channels": wav(channels=65_535, data=bytes(65_535 * 2)),
        "7 bits": wav(bits=7),
        "0 bits": wav(bits=0),
        "0 Hz": wav(rate=0),
        "1 Hz": wav(rate=1, data=bytes(2_000_000)),
        "a prime rate": wav(rate=999_983),
        "4 GHz": wav(rate=2**32 - 1),
        "compressed": wav(tag=85),
        "NaN": wav(tag=3, bits=32, data=struct.pack("<f", float("nan")) * 10),
        "infinity": wav(tag=3, bits=64, data=struct.pack("<d", float("inf")) * 10),
        "float64 beyond float32": wav(tag=3, bits=64, data=struct.pack("<d", 1e300) * 10),
        "no samples": wav(data=b""),
        "half a sample": wav(data=b"x"),
        "a chunk that claims all": b"RIFF\xff\xff\xff\xffWAVEjunk\xff\xff\xff\xff",
        "an MP3": b"\xff\xfb\x90\x64" + bytes(400),
        "an ID3 tag": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
        "RF64": good.replace(b"RIFF", b"RF64"),
        "big-endian": good.replace(b"RIFF", b"RIFX"),
        "no format": b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
        "cut": good[:60],
    }


@pytest.mark.parametrize(("target", "cases"), [("picture", picture_cases), ("sound", sound_cases)])
def test_hostile_media_do_no_harm(replay: Replay, tmp_path: Path, target: str, cases: object) -> None:
    file = tmp_path / "x"
    findings = []
    for name, data in cases().items():  # type: ignore[operator]
        file.write_bytes(data)
        if (finding := replay.ask(target, file)) is not None:
            findings.append(f"{name}: {finding.problem}\n{finding.details}")
    assert not findings, "\n".join(findings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("task", ["image", "audio"])
def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_folder(tmp_path, task)
    bad = picture_cases() if task == "image" else sound_cases()
    for number, data in enumerate(bad.values()):
        (tmp_path / f"bad{number}").write_bytes(data)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    good = [tmp_path / name for name in ("good1", "good2")]
    for path in good:
        if task == "image":
            write_photo(path.with_suffix(".png")).rename(path)
        else:
            path.write_bytes(encode_wav(np.zeros(50, np.float32), "int16", 16_000))
    odd = [tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "empty", tmp_path / "none"]
    files = [good[0], *(tmp_path / f"bad{number}" for number in range(len(bad))), *odd, good[1]]
    result = CliRunner().invoke(app, ["predict", str(folder), *map(str, files), "--json", "--quiet"])
    assert result.exit_code == 3, result.output
    answers = json.loads(result.stdout)["files"]
    assert [answer["file"] for answer in answers] == [*map(str, files)]
    classified = [answer["file"] for answer in answers if "top" in answer]
    assert (classified[0], classified[-1]) == (str(good[0]), str(good[1]))
    assert len(classified) < 6  # a picture below Pillow's limit is one, however little is in it
    assert all("error" in answer for answer in answers[-1 - len(odd) : -1])
    assert not (tmp_path / "ran").exists()


def test_ghostscript_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: object, **named: object) -> None:
        pytest.fail("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    processor = ByteFormerImageProcessor(file_encoding="PNG")
    with pytest.raises(ValueError, match="Pillow starts another program for EPS"):
        processor(Image.open(io.BytesIO(EPS)))


@pytest.mark.parametrize("rate", [0, 1, 999_983, 2**32 - 1])
def test_a_rate_whose_filter_no_machine_holds_is_refused(tmp_path: Path, rate: int) -> None:
    (tmp_path / "x").write_bytes(wav(rate=rate))
    with pytest.raises(ValueError, match="cannot be resampled"):
        ByteFormerFeatureExtractor(file_format="wav")(tmp_path / "x")


def test_a_file_of_more_than_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="more than"):
        ByteFormerFeatureExtractor()(path, raw=True)


@pytest.mark.parametrize("mode", ["CMYK", "P", "I;16", "LA", "1", "F"])
def test_every_kind_of_picture_is_taken(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode in ("CMYK", "F") else "x.png")
    Image.new(mode, (50, 60)).save(path)
    assert ByteFormerImageProcessor(file_encoding="fHWC")(path)["input_ids"][0].shape == (224 * 224 * 3,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_an_evaluation_lists_bad_files_and_counts_the_others(tmp_path: Path) -> None:
    folder, data = make_folder(tmp_path, classes=2), tmp_path / "data"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        write_photo(data / name / "good.png")
        (data / name / "again").symlink_to(".")
    for name, content in [("bomb.png", png(2**31 - 1, 2**31 - 1)), ("eps.jpg", EPS), ("empty.png", b"")]:
        (data / "a" / name).write_bytes(content)
    os.mkfifo(data / "a" / "pipe.png")
    (data / "b" / "zero.png").symlink_to("/dev/zero")
    arguments = ["evaluate", str(folder), "--data", str(data), "--workers", "0", "--json", "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    broken = json.loads(result.stdout)["broken"]
    names = [file["name"] for file in broken["listed"]]
    assert names == ["a/bomb.png", "a/empty.png", "a/eps.jpg", "a/pipe.png", "b/zero.png"]
