"""The parts of a card that depend on the model, as sentences and tables: computed, not measured."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

WIDTH = 120
FLOAT32 = 4
BYTES_OF = {"float16": 2, "bfloat16": 2}
SHOWN_LENGTHS = (1_000, 10_000, 50_000, 150_528)  # the last: 224 × 224 pixels, three bytes each
HEADER = 1_000  # more than an image file needs beside its pixels
PICTURE = 256
RESAMPLING = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "Hamming"}

SHUFFLES = {
    "reverse": "reverse the order of the bytes",
    "cyclic_half_length": "swap the two halves of the file",
    "stride": "reorder the bytes in strides of {shuffle_stride}",
    "window_shuffle": "reorder the bytes within windows of {shuffle_window_size}, always in the same way",
    "random_shuffle": "shuffle all bytes, each time anew",
}


def paragraph(text: str, indent: str = "") -> str:
    """Wrapped as the template's own text is."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def format_name(processor: Mapping[str, Any]) -> str:
    """The encoding that the model reads, in a word or two."""
    if "sampling_rate" in processor:
        return {"wav": "a WAV file", "mp3": "an MP3 file"}.get(processor["file_format"], "raw samples")
    name = processor["file_encoding"]
    return {"fHWC": "raw pixels", "fCHW": "raw pixels", None: "raw pixels"}.get(name, f"a {name} file")


def bytes_made(processor: Mapping[str, Any]) -> str:
    """What the processor does, as a numbered list."""
    steps = _audio_steps(processor) if "sampling_rate" in processor else _image_steps(processor)
    rows = [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
    return "The processor does what CoreNet does when it evaluates:\n\n" + "\n".join(rows)


def _audio_steps(fields: Mapping[str, Any]) -> list[str]:
    rate, samples, dtype = fields["sampling_rate"], fields["num_samples"], fields["encoding_dtype"]
    encodings = {
        "wav": f"encode as a WAV file of {dtype} samples",
        "mp3": "encode as an MP3 file (with the package `av`)",
    }
    return [
        f"take a waveform at {rate:,} samples per second, averaged over its channels",
        f"cut it, or fill it with silence, to {samples:,} samples",
        encodings.get(fields["file_format"], "take the samples as they are"),
        f"pad the shorter files of a batch with {fields['padding_value']}",
    ]


def _image_steps(fields: Mapping[str, Any]) -> list[str]:
    steps = ["open the image as RGB"]
    if fields["do_resize"]:
        steps.append(f"resize {_resized(fields['size'])}, {RESAMPLING.get(fields['resample'], 'bicubic')}")
    if fields["do_center_crop"]:
        steps.append(f"cut {fields['crop_size']['height']} × {fields['crop_size']['width']} pixels from the centre")
    steps.append(_encoding(fields))
    if fields["shuffle_mode"] is not None:
        steps.append(SHUFFLES[fields["shuffle_mode"]].format(**fields))
    if fields["keep_fraction"] is not None:
        steps.append(f"keep {fields['keep_fraction']:.3g} of the bytes, always at the same random positions, in order")
    if fields["noise_range"] is not None:
        low, high = fields["noise_range"]
        steps.append(f"add a random whole number from {low} to {high} to each byte: the result differs each time")
    if fields["permute_bytes"]:
        steps.append("replace each byte value by another, always the same permutation of the 256 values")
    return [*steps, f"pad the shorter files of a batch with {fields['padding_value']}"]


def _resized(size: Mapping[str, int]) -> str:
    if "shortest_edge" in size:
        return f"the shorter side to {size['shortest_edge']} pixels"
    return f"to {size['height']} × {size['width']} pixels"


def _encoding(fields: Mapping[str, Any]) -> str:
    name = fields["file_encoding"]
    known = {
        "fHWC": "take the raw pixels, row by row, three bytes each",
        "fCHW": "take the raw pixels, one colour plane after the other",
        "PNG": "encode as an uncompressed PNG file",
        "JPEG": f"encode as a JPEG file of quality {fields['jpeg_quality']}",
        None: "take the pixels as they are",
    }
    return known.get(name, f"encode as a {name} file")


def max_bytes(options: CoreNetOptions) -> int:
    """The longest file that the position table has room for."""
    return _longest(options, options.max_num_tokens)


def positions(options: CoreNetOptions, parameters: int, dtype: str, trimmed: Mapping[str, int] | None = None) -> str:
    """What fits, and what it costs; `trimmed` is what the report says of rows that were cut off."""
    size = BYTES_OF.get(dtype, FLOAT32)
    table = 0 if options.sinusoidal_pos_emb else options.max_num_tokens * options.embed_dim
    share = f", of which the position table is {_megabytes(table * size)}" if table else ""
    longest = max_bytes(options)
    lengths = [*(length for length in SHOWN_LENGTHS if length < longest), longest]
    rows = [
        f"| {length:,} | {tokens:,} | {_megabytes(tokens * options.embed_dim * FLOAT32)} |"
        for length, tokens in ((length, _tokens(options, length)) for length in lengths)
    ]
    text = (
        f"The position table has {options.max_num_tokens:,} rows: files of {options.conv_kernel_size} to {longest:,} "
        f"bytes. {_trim_note(trimmed)}The weights are {_megabytes(parameters * size)} ({dtype}){share}. "
        "Attention looks at windows, so what a forward pass needs grows with the length, not with its square. One "
        "tensor of activations before the first merge takes what the table says (computed, float32); about three "
        "of them is what a forward pass needs at its peak (measured on a CPU)."
    )
    header = ["| bytes of a file | tokens | one tensor of activations |", "|---|---|---|"]
    return "\n".join([paragraph(text), "", *header, *rows])


def _trim_note(trimmed: Mapping[str, int] | None) -> str:
    if trimmed is None:
        return ""
    return (
        f"They are the first of the checkpoint's {trimmed['from']:,}: a file that fits gets the same numbers "
        "as with all of them, a longer one needs a folder converted without `--trim-positions`. "
    )


def largest_side(options: CoreNetOptions, processor: Mapping[str, Any]) -> int | None:
    """Pixels a side of a square image that surely fits, where the processor takes images of any size; else None."""
    if "sampling_rate" in processor or processor["do_center_crop"] or processor["do_resize"]:
        return None
    header = 0 if format_name(processor).startswith("raw") else HEADER
    return min(PICTURE, math.isqrt(max(max_bytes(options) - header, 3) // 3))


def norm_lengths(options: CoreNetOptions) -> str:
    """Which files meet the norm that runs over the wrong axis."""
    if options.embed_dim in options.window_sizes:
        return "Here a window holds as many tokens, so this happens in every file."
    merges = sum(options.downsample)
    last = _lengths_that_leave(options, merges)
    if not any(_lengths_that_leave(options, count) for count in range(merges + 1)):
        return "No file that fits this model's positions is of such a length."
    earlier = [_lengths_that_leave(options, count) for count in range(1, merges)]
    in_merges = (
        f"In a merge, that is so for files of {' or '.join(filter(None, earlier))} bytes." if any(earlier) else ""
    )
    in_last = f"In the last norm, which then averages the content away, for files of {last} bytes." if last else ""
    return f"{in_merges} {in_last}".strip()


def _lengths_that_leave(options: CoreNetOptions, merges: int) -> str | None:
    """Lengths in bytes of the files of which exactly embed-dim tokens are left after so many merges."""
    fewest = ((options.embed_dim - 1) << merges) + 1  # each merge halves, rounding up
    most = min(options.embed_dim << merges, options.max_num_tokens)
    return f"{_shortest(options, fewest):,} to {_longest(options, most):,}" if fewest <= most else None


def _shortest(options: CoreNetOptions, tokens: int) -> int:
    return (tokens - 1) * options.stride + options.conv_kernel_size


def _longest(options: CoreNetOptions, tokens: int) -> int:
    return _shortest(options, tokens) + options.stride - 1


def _tokens(options: CoreNetOptions, length: int) -> int:
    return (length - options.conv_kernel_size) // options.stride + 1


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
