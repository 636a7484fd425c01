"""The feature extractor against the files that CoreNet's sox and LAME wrote."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import types
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding

from byteformer_convert.bundled.feature_extraction_byteformer import (
    ByteFormerFeatureExtractor,
    encode_mp3,
    encode_wav,
    read_wav,
)
from byteformer_convert.corenet.options import load_options
from byteformer_convert.mapping.processor import processor_fields
from tests.sample_files import sample_sounds

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "processors" / "generated_sounds.json").read_text())[
    "sounds"
]
ENCODINGS = ["float32", "int32", "int16", "uint8", "mp3"]
RATE = 16_000


def extractor_for(encoding: str) -> ByteFormerFeatureExtractor:
    if encoding == "mp3":
        return ByteFormerFeatureExtractor(file_format="mp3")
    return ByteFormerFeatureExtractor(file_format="wav", encoding_dtype=encoding)


def bytes_of(extractor: ByteFormerFeatureExtractor, audio: Any, **kwargs: Any) -> bytes:
    """The encoded file of one input."""
    return bytes(extractor(audio, return_tensors="np", **kwargs)["input_ids"][0].astype(np.uint8))


def write_wav(path: Path, samples: np.ndarray, *, tag: int, bits: int, rate: int = RATE, channels: int = 1) -> Path:
    """A WAV file as simple as can be, by the format's definition."""
    data, frame = samples.tobytes(), channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    junk = b"LIST" + struct.pack("<I", 3) + b"odd\0"
    chunks = b"fmt " + struct.pack("<I", 16) + fmt + junk + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


class TestEqualToCoreNet:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize("name", list(sample_sounds()))
    def test_generated_sounds(self, name: str, encoding: str) -> None:
        if encoding == "mp3":
            pytest.importorskip("av", reason="MP3 needs PyAV")
        content = bytes_of(extractor_for(encoding), sample_sounds()[name], sampling_rate=RATE)
        assert len(content) == GOLDEN[name][encoding]["n"]
        assert hashlib.sha256(content).hexdigest() == GOLDEN[name][encoding]["sha256"]

    def test_the_published_yamls_on_real_speech(self, shared: Path) -> None:
        pytest.importorskip("av", reason="MP3 needs PyAV")
        cases = json.loads((shared / "goldens" / "audio" / "encoded.json").read_text())["cases"]
        different = []
        for case in cases:
            fields = processor_fields(load_options(shared / "corenet_configs" / case["config"]))
            clip = shared / "goldens" / "audio" / case["audio"]
            content = bytes_of(ByteFormerFeatureExtractor(**fields), clip)
            if (len(content), hashlib.sha256(content).hexdigest()) != (case["n"], case["sha256"]):
                different.append((case["config"], case["audio"]))
        assert len(cases) == 30
        assert not different

    def test_an_odd_number_of_bytes_is_filled_up_as_riff_asks(self) -> None:
        content = encode_wav(sample_sounds()["noise"][:4999], "uint8", RATE)
        golden = GOLDEN["4,999 samples"]["uint8"]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (golden["n"], golden["sha256"])

    @pytest.mark.parametrize("dtype", ["int16", "uint8"])
    def test_the_standard_library_reads_our_headers(self, tmp_path: Path, dtype: str) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(encode_wav(sample_sounds()["noise"], dtype, RATE))
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, RATE, 16_000)


class TestInputs:
    @pytest.mark.parametrize(
        "convert", [np.float64, torch.from_numpy, lambda x: x[None], lambda x: [x], np.ndarray.tolist]
    )
    def test_one_waveform_in_any_form(self, convert: Callable[[np.ndarray], Any]) -> None:
        extractor, sound = extractor_for("int16"), sample_sounds()["noise"]
        want = bytes_of(extractor, sound, sampling_rate=RATE)
        assert bytes_of(extractor, convert(sound), sampling_rate=RATE) == want

    def test_two_channels_become_their_mean(self) -> None:
        extractor = extractor_for("int32")
        left, right = sample_sounds()["noise"], sample_sounds()["fine"]
        stereo = bytes_of(extractor, np.stack([left, right]), sampling_rate=RATE)
        assert stereo == bytes_of(extractor, (left + right) / np.float32(2), sampling_rate=RATE)

    def test_only_the_first_samples_count(self) -> None:
        extractor, sound = extractor_for("float32"), sample_sounds()["long"]
        assert bytes_of(extractor, sound, sampling_rate=RATE) == bytes_of(extractor, sound[:16_000], sampling_rate=RATE)

    @pytest.mark.parametrize(
        ("tag", "bits", "encode"),
        [
            (1, 8, lambda x: (x * 128 + 128).astype("u1")),
            (1, 16, lambda x: (x * 2**15).astype("<i2")),
            (1, 24, lambda x: (x * 2**23).astype("<i4").view("u1").reshape(-1, 4)[:, :3]),
            (1, 32, lambda x: (x.astype(np.float64) * 2**31).astype("<i4")),
            (3, 32, lambda x: x.astype("<f4")),
            (3, 64, lambda x: x.astype("<f8")),
        ],
    )
    def test_a_wav_file_is_the_waveform_in_it(
        self, tmp_path: Path, tag: int, bits: int, encode: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        sound = np.arange(-128, 128, dtype=np.float32) / 128
        path = write_wav(tmp_path / "a.wav", encode(sound), tag=tag, bits=bits)
        waveform, rate = read_wav(path)
        np.testing.assert_array_equal(waveform, sound[None])
        assert rate == RATE
        want = bytes_of(extractor_for("int16"), sound, sampling_rate=RATE)
        assert bytes_of(extractor_for("int16"), path) == bytes_of(extractor_for("int16"), str(path)) == want

    def test_channels_of_a_wav_file_come_apart(self, tmp_path: Path) -> None:
        frames = np.array([[1, 2], [3, 4], [5, 6]], dtype="<i2")
        waveform, _ = read_wav(write_wav(tmp_path / "a.wav", frames, tag=1, bits=16, channels=2))
        assert (waveform * 2**15).tolist() == [[1, 3, 5], [2, 4, 6]]

    @pytest.mark.parametrize("dtype", ["float32", "int32", "int16", "uint8"])
    def test_what_it_writes_it_reads(self, tmp_path: Path, dtype: str) -> None:
        sound = sample_sounds()["noise"] * np.float32(0.5)
        (tmp_path / "a.wav").write_bytes(encode_wav(sound, dtype, RATE))
        waveform, _ = read_wav(tmp_path / "a.wav")
        np.testing.assert_allclose(waveform[0], sound, atol=2 / 128 if dtype == "uint8" else 1e-4)

    def test_a_wav_file_from_a_pipe_runs_to_its_end(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "a.wav", np.array([5, 6, 7], dtype="<i2"), tag=1, bits=16)
        path.write_bytes(path.read_bytes().replace(b"data" + struct.pack("<I", 6), b"data" + b"\xff" * 4))
        assert (read_wav(path)[0] * 2**15).tolist() == [[5, 6, 7]]

    def test_bytes_are_a_file_as_it_is(self, tmp_path: Path) -> None:
        extractor = extractor_for("mp3")
        (tmp_path / "a.mp3").write_bytes(b"any bytes")
        assert bytes_of(extractor, b"any bytes") == b"any bytes"
        assert bytes_of(extractor, tmp_path / "a.mp3", raw=True) == b"any bytes"

    def test_a_batch_is_padded_on_the_right_and_the_mask_says_so(self) -> None:
        batch = ByteFormerFeatureExtractor()([b"abc", b"a"], return_tensors="pt")
        assert batch["input_ids"].tolist() == [[97, 98, 99], [97, -1, -1]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]

    def test_it_pads_for_transformers_collator(self) -> None:
        collate = DataCollatorWithPadding(ByteFormerFeatureExtractor())
        batch = collate([{"input_ids": [1, 2, 3], "labels": 4}, {"input_ids": [9], "labels": 5}])
        assert batch["input_ids"].tolist() == [[1, 2, 3], [9, -1, -1]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
        assert batch["labels"].tolist() == [4, 5]


class TestSamplingRate:
    def test_it_must_be_given(self) -> None:
        with pytest.raises(ValueError, match="input 0: pass sampling_rate; the model was trained at 16000 Hz"):
            extractor_for("int16")(sample_sounds()["noise"])

    def test_it_must_be_the_files(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "a.wav", np.zeros(9, "<i2"), tag=1, bits=16, rate=8000)
        with pytest.raises(ValueError, match=r"a.wav: the file says 8000 Hz, sampling_rate says 16000"):
            extractor_for("int16")(path, sampling_rate=RATE)

    def test_another_rate_without_torchaudio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torchaudio", None)
        with pytest.raises(
            ImportError, match=r"8000 Hz, and the model was trained at 16000 Hz.*pip install torchaudio"
        ):
            extractor_for("int16")(sample_sounds()["noise"], sampling_rate=8000)

    def test_another_rate_is_torchaudios_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def twice(waveform: torch.Tensor, old: int, new: int) -> torch.Tensor:
            assert (old, new) == (8000, RATE)
            return waveform.repeat_interleave(2, dim=-1)

        fake = types.SimpleNamespace(functional=types.SimpleNamespace(resample=twice))
        monkeypatch.setitem(sys.modules, "torchaudio", fake)
        extractor, sound = extractor_for("int16"), sample_sounds()["noise"]
        want = bytes_of(extractor, np.repeat(sound, 2), sampling_rate=RATE)
        assert bytes_of(extractor, sound, sampling_rate=8000) == want


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("audio", "message"),
        [
            (np.zeros(9, np.int16), "samples are int16; give floats from -1 to 1"),
            (np.zeros((3, 9), np.float32), r"a waveform of shape \(3, 9\)"),
            (np.zeros((1, 1, 9), np.float32), r"a waveform of shape \(1, 1, 9\)"),
            (np.zeros(0, np.float32), "the waveform is empty"),
            (np.array([0.0, np.nan]), "NaN or infinity"),
            (np.array([0.0, -np.inf]), "NaN or infinity"),
            (b"", "the bytes are empty"),
        ],
    )
    def test_the_message_says_what_is_wrong_with_which_input(self, audio: Any, message: str) -> None:
        with pytest.raises(ValueError, match=f"^input 1: .*{message}"):
            extractor_for("int16")([sample_sounds()["noise"], audio], sampling_rate=RATE)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "the file is empty"),
            (b"ID3 and so on", "not a WAV file; decode it first.*raw=True"),
            (b"RIFF\0\0\0\0WAVE", "no format or no samples"),
            (encode_wav(np.zeros(50, np.float32), "int16", RATE)[:-7], "cut short: 100 bytes promised, 93 there"),
        ],
    )
    def test_a_broken_file(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "broken.wav").write_bytes(content)
        with pytest.raises(ValueError, match=rf"broken.wav: .*{message}"):
            extractor_for("int16")(tmp_path / "broken.wav")

    def test_a_compressed_wav_file(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "a.wav", np.zeros(9, "u1"), tag=7, bits=8)
        with pytest.raises(ValueError, match=r"a.wav: WAV format 7 with 8 bits; convert it to plain PCM"):
            extractor_for("int16")(path)

    def test_a_folder_and_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError, match="is a folder"):
            extractor_for("int16")(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"none.wav: no such file"):
            extractor_for("int16")(tmp_path / "none.wav")

    def test_mp3_without_pyav(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(ImportError, match="pip install av"):
            encode_mp3(sample_sounds()["noise"], RATE)

    def test_mp3_at_another_rate(self) -> None:
        with pytest.raises(ValueError, match="at 16000 Hz only, not at 8000 Hz"):
            encode_mp3(sample_sounds()["noise"], 8000)

    def test_sound_where_the_options_name_no_format(self) -> None:
        with pytest.raises(ValueError, match="options do not say how sound is encoded"):
            ByteFormerFeatureExtractor()(sample_sounds()["noise"], sampling_rate=RATE)

    def test_misspelt_fields(self) -> None:
        with pytest.raises(ValueError, match="file_format is 'ogg'; ByteFormer knows wav, mp3"):
            ByteFormerFeatureExtractor(file_format="ogg")
        with pytest.raises(ValueError, match="encoding_dtype is 'int24'; ByteFormer knows float32"):
            ByteFormerFeatureExtractor(encoding_dtype="int24")


@pytest.mark.parametrize("fields", [{}, {"file_format": "wav", "encoding_dtype": "uint8", "num_samples": 99}])
def test_saving_and_loading_changes_nothing(tmp_path: Path, fields: dict[str, Any]) -> None:
    extractor = ByteFormerFeatureExtractor(**fields)
    extractor.save_pretrained(tmp_path)
    assert ByteFormerFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()
