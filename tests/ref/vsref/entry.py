# SPDX-License-Identifier: Apache-2.0
"""Where a chunk lies: the 48-byte entry. spec/store.md, "Entry"."""

from struct import Struct
from typing import NamedTuple

from . import codec as codecs
from .errors import need
from .header import SIZE as HEADER_SIZE
from .keys import KIND_DATA, KIND_NODE, NULL_ID, TAG

SIZE = 48
LAYOUT = Struct("<32sIIII")


class Entry(NamedTuple):
    id: bytes
    pack: int
    offset: int
    sealed: int  # length of the ciphertext with its tag
    codec: int
    length: int  # of the content
    kind: int

    def bytes(self):
        return LAYOUT.pack(self.id, self.pack, self.offset,
                           self.sealed | self.codec << 24,
                           self.length | self.kind << 24)

    @property
    def end(self):
        return self.offset + self.sealed

    def aad(self):
        return (bytes([self.kind, self.codec]) +
                self.length.to_bytes(4, "little") + self.id)


def parse(data, at, place):
    chunk_id, pack, offset, low, high = LAYOUT.unpack_from(data, at)
    e = Entry(chunk_id, pack, offset, low & 0xFFFFFF, low >> 24,
              high & 0xFFFFFF, high >> 24)
    place = f"{place}: entry {chunk_id.hex()[:16]}"
    need(chunk_id != NULL_ID, place, "null id")
    need(e.kind in (KIND_DATA, KIND_NODE), place, "unknown kind")
    need(e.offset >= HEADER_SIZE, place, "lies in the header")
    need(1 <= e.length <= codecs.CONTENT_MAX, place, "content length")
    need(TAG < e.sealed <= codecs.CONTENT_MAX + TAG, place, "sealed length")
    if e.codec == codecs.RAW:
        need(e.sealed == e.length + TAG, place, "lengths of codec 0")
    else:
        need(e.codec == codecs.ZSTD, place, "unknown codec")
        need(e.sealed - TAG < e.length, place, "lengths of codec 1")
    return e
