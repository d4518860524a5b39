# SPDX-License-Identifier: Apache-2.0
"""Coding of a chunk's content. spec/store.md, "Chunk and codec"."""

import zstandard

from .errors import Corrupt, need

RAW, ZSTD = 0, 1
CONTENT_MAX = 4 << 20


def encode(content, level=3, force=None):
    """(codec, coded); force picks a codec where that is legal."""
    if force != RAW:
        coded = zstandard.ZstdCompressor(
            level=level, write_content_size=True).compress(content)
        if len(coded) < len(content) and (
                force == ZSTD or len(content) - len(coded) >=
                len(content) / 32):
            return ZSTD, coded
    return RAW, content


def decode(codec, coded, length, place):
    if codec == RAW:
        need(len(coded) == length, place, "wrong length")
        return coded
    need(codec == ZSTD, place, f"codec {codec} is unknown")
    try:
        frame = zstandard.get_frame_parameters(coded)
        need(frame.content_size == length, place, "frame's content size")
        need(frame.dict_id == 0, place, "frame needs a dictionary")
        # A skippable frame has these parameters too, with content size 0;
        # the magic is looked at so that no library has a say in it.
        need(coded[:4] == b"\x28\xb5\x2f\xfd", place, "not a zstd frame")
        one = zstandard.ZstdDecompressor().decompressobj()
        content = one.decompress(coded)
        need(not one.unused_data, place, "bytes after the frame")
    except zstandard.ZstdError as e:
        raise Corrupt(f"{place}: zstd: {e}") from e
    need(len(content) == length, place, "frame gives another length")
    return content
