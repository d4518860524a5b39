# SPDX-License-Identifier: Apache-2.0
"""The config object. spec/store.md, "Config"."""

import hmac
from dataclasses import dataclass
from struct import pack, unpack, unpack_from

from .errors import need, need_zero
from .header import check_start, check_sum, with_sum

MAGIC = b"VSCONFIG"
SIZE = 128
PLAINTEXT = 1


@dataclass
class Config:
    store_id: bytes
    plaintext: bool
    chunk_log2: int
    level: int
    pack_size: int
    made: int
    data: bytes

    def check_mac(self, masters):
        need(hmac.compare_digest(masters.config_mac(self.data),
                                 self.data[96:]), "config", "wrong MAC")


def parse(data):
    place = "config"
    check_start(data, MAGIC, place)
    need(len(data) == SIZE, place, "wrong length")
    check_sum(data, 88, place)
    flags = unpack_from("<I", data, 20)[0]
    chunk_log2, level, ids, seals, pack_size, made = unpack(
        "<IiIIQq", data[40:72])
    need(not flags & ~PLAINTEXT, place, "reserved flags are set")
    need(14 <= chunk_log2 <= 22, place, "chunk size out of range")
    need(-7 <= level <= 19 and level, place, "zstd level out of range")
    # Another suite comes with incompat bit 3; without it, it is damage.
    need(ids == 1 and seals == 1, place, "unknown suite")
    need(1 << 20 <= pack_size <= 1 << 30, place, "pack size out of range")
    need_zero(data[72:88], place)
    return Config(data[24:40], bool(flags & PLAINTEXT), chunk_log2, level,
                  pack_size, made, data)


def build(masters, store_id, plaintext, chunk_log2, made, hook):
    data = MAGIC + pack("<IIII", 1, 0, 0, PLAINTEXT if plaintext else 0)
    data += store_id + pack("<IiIIQq", chunk_log2, 3, 1, 1, 16 << 20, made)
    data = with_sum(hook("config", data + bytes(16)))
    return hook("config.object", data + masters.config_mac(data))
