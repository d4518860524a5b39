# SPDX-License-Identifier: Apache-2.0
"""The first bytes of every object. spec/store.md, "Object header"."""

from dataclasses import dataclass
from struct import pack, unpack_from

from .errors import TooNew, need, need_zero
from .xxh3 import xxh3_64

SIZE = 80
VERSION = 1
# Magic of an object by the word that its key is made with.
MAGIC = {
    "pack": b"VSPACK\0\0",
    "table": b"VSTABLE\0",
    "snapshot": b"VSSNAP\0\0",
    "pin": b"VSPIN\0\0\0",
    "condemned": b"VSCONDEM",
}


@dataclass
class Header:
    word: str
    store_id: bytes
    salt: bytes


def check_start(data, magic, place):
    """Magic, version, incompat: in this order, and before any checksum."""
    need(len(data) >= 16, place, "too short")
    need(data[:8] == magic, place, "wrong magic")
    version, incompat = unpack_from("<II", data, 8)
    if version != VERSION:
        raise TooNew(f"{place}: version {version}")
    if incompat:
        raise TooNew(f"{place}: incompat bits {incompat:#x}")


def check_sum(data, at, place):
    """XXH3 of all bytes before offset `at` stands there."""
    need(len(data) >= at + 8, place, "too short")
    need(unpack_from("<Q", data, at)[0] == xxh3_64(data[:at]), place,
         "wrong checksum")


def with_sum(data):
    return data + pack("<Q", xxh3_64(data))


def build(word, store_id, salt, hook):
    """The 80 bytes; hook(stage, value) may change the first 72."""
    data = MAGIC[word] + pack("<IIII", VERSION, 0, 0, 0) + store_id + salt
    return with_sum(hook(word + ".header", data))


def parse(data, word, store_id, place):
    check_start(data, MAGIC[word], place)
    check_sum(data, 72, place)
    need_zero(data[20:24], place)
    need(data[24:40] == store_id, place, "belongs to another store")
    return Header(word, data[24:40], data[40:72])
