# Copied as it stands into every converted folder: it runs on machines where only transformers is installed.
"""Sound to the bytes that ByteFormer reads. Paper: Horton et al., Bytes Are All You Need, arXiv 2306.00238."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor

from .byte_batch_byteformer import BYTES_TYPES, PATH_TYPES, file_stream, pad_to_batch, read_file, source_name

FILE_FORMATS = ("wav", "mp3")
ENCODING_DTYPES = ("float32", "int32", "int16", "uint8")
MP3_SAMPLING_RATE = 16_000
MP3_BIT_RATE = 24_000  # what LAME takes for 16 kHz mono when nobody asks for a rate
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
MOST_CHANNELS = 2
# What sound is recorded at, from telephones to ultrasound: the filter that resamples grows with both rates, and a sound
# of one sample per second would become thousands of times longer.
RATES = range(1000, 1_000_001)
LARGEST_FILTER = 2**24  # weights
SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # Microsoft's GUID for "the format tag before this"


class ByteFormerFeatureExtractor(SequenceFeatureExtractor):
    """Encodes sound as the files that a ByteFormer was trained on, and gives their bytes.

    The steps are those of CoreNet's evaluation, byte for byte, with its `sox` backend: cut or zero-pad, mean over
    channels, encode, pad. A folder's own values are in its preprocessor_config.json. What may be None is None by
    default: transformers leaves None out when it saves.

    Args:
        sampling_rate: Samples per second of the sound that is encoded.
        num_samples: Samples that are kept; shorter sound is filled with zeros.
        file_format: "wav" or "mp3". None where the checkpoint's options name no format: it then takes file bytes only.
        encoding_dtype: Samples of a "wav": "float32", "int32", "int16" or "uint8".
        padding_value: What stands behind the end of the shorter files of a batch.
    """

    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        sampling_rate: int = 16_000,
        num_samples: int = 16_000,
        file_format: str | None = None,
        encoding_dtype: str = "float32",
        padding_value: int = -1,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("feature_size", None)
        super().__init__(feature_size=1, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        if file_format is not None and file_format not in FILE_FORMATS:
            raise ValueError(f"file_format is {file_format!r}; ByteFormer knows {', '.join(FILE_FORMATS)}.")
        if encoding_dtype not in ENCODING_DTYPES:
            raise ValueError(f"encoding_dtype is {encoding_dtype!r}; ByteFormer knows {', '.join(ENCODING_DTYPES)}.")
        self.num_samples = num_samples
        self.file_format = file_format
        self.encoding_dtype = encoding_dtype

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        raw: bool = False,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Sound or files to a batch of byte values.

        Args:
            audio: One of these, or a list of them:
                a float waveform from -1 to 1, (samples,) or (channels, samples) with one or two channels;
                the path of a WAV file: both are encoded as above;
                a bytes object: a file that is already in the right encoding, taken as it is.
            sampling_rate: Samples per second of the waveforms. A WAV file says its own.
            raw: Take paths as bytes objects are taken: the file's own bytes, no step but padding.
            return_tensors: "pt", "np", or None for lists of arrays.

        Returns:
            `input_ids` and `attention_mask`, both (sounds, bytes of the longest) int64; padding is `padding_value` in
            the one and 0 in the other.

        Raises:
            ValueError: An input cannot be used; the message names it.
            OSError: A file cannot be read.
            ImportError: "mp3" without PyAV, or another sampling rate without torchaudio.
        """
        streams = []
        for index, source in enumerate(_as_list(audio)):
            name = source_name(source, index)
            if raw or isinstance(source, BYTES_TYPES):
                streams.append(file_stream(source, name))
            else:
                streams.append(self._encode(self._fit(*_waveform(source, sampling_rate, name), name), name))
        return pad_to_batch(streams, int(self.padding_value), return_tensors)

    def pad(self, processed_features: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """As transformers pads; give the extractor to its `DataCollatorWithPadding`.

        Ids become int64 first: in a data set that keeps bytes as uint8, -1 would turn into the byte 255.
        """
        if isinstance(processed_features, (list, tuple)):
            processed_features = [dict(example) for example in processed_features]
            for example in processed_features:
                example["input_ids"] = np.asarray(example["input_ids"], dtype=np.int64)
        return super().pad(processed_features, *args, **kwargs)

    def _fit(self, waveform: np.ndarray, sampling_rate: int | None, name: str) -> np.ndarray:
        """(channels, samples) at any rate to (num_samples,) at the model's."""
        if sampling_rate is None:
            raise ValueError(f"{name}: pass sampling_rate; the model was trained at {self.sampling_rate} Hz.")
        if sampling_rate != self.sampling_rate:
            waveform = _resample(waveform, sampling_rate, self.sampling_rate, name)
        mono = waveform[:, : self.num_samples].mean(axis=0, dtype=np.float32)
        return np.pad(mono, (0, self.num_samples - len(mono)))

    def _encode(self, waveform: np.ndarray, name: str) -> np.ndarray:
        if self.file_format is None:
            raise ValueError(
                f"{name}: this checkpoint's options do not say how sound is encoded. Give file bytes (bytes objects, "
                "or raw=True with paths), or set extractor.file_format to wav or mp3."
            )
        if self.file_format == "mp3":
            content = encode_mp3(waveform, self.sampling_rate)
        else:
            content = encode_wav(waveform, self.encoding_dtype, self.sampling_rate)
        return np.frombuffer(content, dtype=np.uint8)


def encode_wav(waveform: np.ndarray, dtype: str, sampling_rate: int) -> bytes:
    """A mono WAV file as torchaudio 2.3 writes it through sox 14.4.2.

    Whole-number samples outside -1 to 1 wrap around, as in CoreNet's `_stream_to_wav`.

    Args:
        waveform: (samples,) float32.
        dtype: One of `ENCODING_DTYPES`.
        sampling_rate: Samples per second.
    """
    samples = {"float32": _sox_floats, "int32": _to_int32, "int16": _to_int16, "uint8": _to_uint8}[dtype](waveform)
    width = samples.itemsize
    tag = {"float32": FLOAT, "int32": EXTENSIBLE}.get(dtype, PCM)
    fmt = struct.pack("<HHIIHH", tag, 1, sampling_rate, sampling_rate * width, width, 8 * width)
    if tag == EXTENSIBLE:  # 22 more bytes: 32 valid bits, front centre, the real format tag
        fmt += struct.pack("<HHIH", 22, 8 * width, 4, PCM) + SUBFORMAT_TAIL
    elif tag == FLOAT:
        fmt += struct.pack("<H", 0)
    chunks = _chunk(b"fmt ", fmt)
    if tag != PCM:
        chunks += _chunk(b"fact", struct.pack("<I", len(samples)))
    chunks += _chunk(b"data", samples.astype(samples.dtype.newbyteorder("<")).tobytes())
    return _chunk(b"RIFF", b"WAVE" + chunks)


def encode_mp3(waveform: np.ndarray, sampling_rate: int) -> bytes:
    """A mono MP3 file as torchaudio 2.3 writes it through sox 14.4.2 and LAME 3.100.

    Args:
        waveform: (samples,) float32.
        sampling_rate: Samples per second.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: Another rate than 16 kHz.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("MP3 is encoded with PyAV, which is not installed here: `pip install av`.") from error
    if sampling_rate != MP3_SAMPLING_RATE:
        raise ValueError(f"MP3 is the same as sox's at {MP3_SAMPLING_RATE} Hz only, not at {sampling_rate} Hz.")
    file = io.BytesIO()
    # Neither the Xing header nor ID3 tags: sox leaves both out when it writes to a file that it cannot read back.
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=sampling_rate)
        stream.bit_rate = MP3_BIT_RATE
        stream.layout = "mono"
        stream.format = "fltp"
        frame = av.AudioFrame.from_ndarray(_sox_floats(waveform)[None], format="fltp", layout="mono")
        frame.sample_rate = sampling_rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def read_wav(path: Any) -> tuple[np.ndarray, int]:
    """Plain PCM (8, 16, 24, 32 bits) and float (32, 64 bits) WAV files, with the standard library alone.

    Returns:
        The waveform, (channels, samples) float32 from -1 to 1, and its samples per second.

    Raises:
        ValueError: It is something else, or it is cut short.
        OSError: The file cannot be read.
    """
    content = read_file(path)
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError(
            f"{path}: not a WAV file; decode it first and give the waveform. If its own bytes are what the model "
            "reads, pass raw=True."
        )
    chunks = _chunks(content, path)
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise ValueError(f"{path}: the WAV file has no format or no samples.")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if tag == EXTENSIBLE and len(chunks[b"fmt "]) >= 26:
        tag = struct.unpack_from("<H", chunks[b"fmt "], 24)[0]
    decode = DECODERS.get((tag, bits))
    if decode is None:
        raise ValueError(f"{path}: WAV format {tag} with {bits} bits; convert it to plain PCM or float first.")
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"{path}: a WAV file of {channels} channels; give one or two.")
    frame = channels * bits // 8
    data = chunks[b"data"]
    samples = decode(data[: len(data) // frame * frame])
    return samples.reshape(-1, channels).T, rate


def _chunks(content: bytes, path: Any) -> dict[bytes, bytes]:
    chunks: dict[bytes, bytes] = {}
    start = 12
    while start + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, start)
        start += 8
        # A size of all ones: written to a pipe, the samples run to the end of the file.
        if start + size > len(content) and not (name == b"data" and size == 0xFFFFFFFF):
            raise ValueError(f"{path}: the WAV file is cut short: {size} bytes promised, {len(content) - start} there.")
        chunks.setdefault(name, content[start : start + size])
        start += size + size % 2
    return chunks


def _pcm8(data: bytes) -> np.ndarray:
    return (np.frombuffer(data, "u1").astype(np.float32) - 128) / 128


def _pcm16(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").astype(np.float32) / 2**15


def _pcm24(data: bytes) -> np.ndarray:
    padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    padded[:, 1:] = np.frombuffer(data, "u1").reshape(-1, 3)
    return _pcm32(padded.tobytes())


def _pcm32(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i4").astype(np.float32) / 2**31


def _float32(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<f4").astype(np.float32)


def _float64(data: bytes) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinity, which is refused
        return np.frombuffer(data, "<f8").astype(np.float32)


DECODERS = {
    (PCM, 8): _pcm8,
    (PCM, 16): _pcm16,
    (PCM, 24): _pcm24,
    (PCM, 32): _pcm32,
    (FLOAT, 32): _float32,
    (FLOAT, 64): _float64,
}


def _as_list(audio: Any) -> list[Any]:
    """A list of numbers is one waveform; any other list is a batch."""
    if isinstance(audio, (list, tuple)) and not (audio and isinstance(audio[0], (int, float))):
        return list(audio)
    return [audio]


def _waveform(source: Any, sampling_rate: int | None, name: str) -> tuple[np.ndarray, int | None]:
    """Any kind of sound to (channels, samples) float32, and its rate."""
    if isinstance(source, PATH_TYPES):
        waveform, file_rate = read_wav(source)
        if sampling_rate not in (None, file_rate):
            raise ValueError(f"{name}: the file says {file_rate} Hz, sampling_rate says {sampling_rate}.")
        sampling_rate = file_rate
    else:
        waveform = _array(source, name)
    if waveform.ndim == 1:
        waveform = waveform[None]
    if waveform.ndim != 2 or waveform.shape[0] not in (1, 2):
        raise ValueError(
            f"{name}: a waveform of shape {waveform.shape}; give (samples,), or (channels, samples) with one or two "
            "channels. Several sounds go in a list."
        )
    if not waveform.shape[1]:
        raise ValueError(f"{name}: the waveform is empty.")
    if not np.isfinite(waveform).all():
        raise ValueError(f"{name}: the waveform holds NaN or infinity.")
    return waveform, sampling_rate


def _array(source: Any, name: str) -> np.ndarray:
    array = source.detach().cpu().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
    if array.dtype.kind != "f":
        raise ValueError(
            f"{name}: samples are {array.dtype}; give floats from -1 to 1, as in samples / 32768 for 16-bit sound."
        )
    return array.astype(np.float32)


def _resample(waveform: np.ndarray, old: int, new: int, name: str) -> np.ndarray:
    shared = math.gcd(old, new)
    if old not in RATES or (old // shared) * (new // shared) > LARGEST_FILTER:
        raise ValueError(f"{name}: {old:,} Hz cannot be resampled to {new:,} Hz; resample it yourself.")
    # CoreNet never resamples: its data sets have one rate. torchaudio's default filter is what transformers uses.
    try:
        import torchaudio
    except (ImportError, OSError) as error:  # OSError: built for another torch
        raise ImportError(
            f"{name}: {old} Hz, and the model was trained at {new} Hz. `pip install torchaudio` to have it resampled, "
            "or resample it yourself."
        ) from error
    return torchaudio.functional.resample(torch.from_numpy(np.ascontiguousarray(waveform)), old, new).numpy()


def _sox_floats(waveform: np.ndarray) -> np.ndarray:
    """Floats that went through sox: cut to 32-bit whole numbers, then rounded to 24 bits."""
    samples = np.clip(waveform.astype(np.float64) * 2**31, INT32_MIN, INT32_MAX).astype(np.int64)
    rounded = (samples + 64) & ~127
    return (np.minimum(rounded, 2**31) / 2**31).astype(np.float32)


def _to_int32(waveform: np.ndarray) -> np.ndarray:
    return _cast(waveform * np.float32(2**31 - 1), np.int32)


def _to_int16(waveform: np.ndarray) -> np.ndarray:
    return _cast(waveform * np.float32(2**15 - 1), np.int16)


def _to_uint8(waveform: np.ndarray) -> np.ndarray:
    return _cast((waveform + np.float32(1)) * np.float32(2**8 - 1) / np.float32(2), np.uint8)


def _cast(values: np.ndarray, dtype: type[np.integer]) -> np.ndarray:
    """torch's cast from float on x86: cut to a whole number, what is out of int32's range becomes its lowest, wrap."""
    whole = values.astype(np.int64)
    return np.where((whole < INT32_MIN) | (whole > INT32_MAX), INT32_MIN, whole).astype(dtype)


def _chunk(name: bytes, content: bytes) -> bytes:
    """A RIFF chunk; an odd one is filled up with a zero byte that its size leaves out."""
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
