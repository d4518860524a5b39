# SPDX-License-Identifier: Apache-2.0
"""Lists of typed records inside sealed objects. "Sealed object"."""

from dataclasses import dataclass
from struct import pack, unpack, unpack_from

from . import header
from .errors import TooNew, need
from .keys import TAG, seal, unseal

OBJECT_MAX = 16 << 20
REQUIRED = 1


@dataclass(frozen=True)
class Field:
    """What may stand in a record of one type."""
    name: str
    parse: object  # function (payload, place) -> value
    required: bool = False
    many: bool = False


def number(size, signed=False):
    def parse(data, place):
        need(len(data) == size, place, "wrong width")
        return int.from_bytes(data, "little", signed=signed)
    return parse


def blob(size):
    def parse(data, place):
        need(len(data) == size, place, "wrong length")
        return data
    return parse


def parse_list(data, fields, place):
    """{field name: value}, or a list of values where many are allowed."""
    values, at = {}, 0
    while at < len(data):
        need(len(data) - at >= 8, place, "record is cut off")
        kind, flags, length = unpack_from("<HHI", data, at)
        here = f"{place}: record {kind}"
        need(length <= len(data) - at - 8, here, "payload past the end")
        need(not flags & ~REQUIRED, here, "reserved flags are set")
        payload = data[at + 8:at + 8 + length]
        at += 8 + length
        field = fields.get(kind)
        if field is None:
            if flags & REQUIRED:
                raise TooNew(f"{here}: required, and unknown")
            continue
        value = field.parse(payload, f"{place}: {field.name}")
        if field.many:
            values.setdefault(field.name, []).append(value)
        else:
            need(field.name not in values, here, "stands twice")
            values[field.name] = value
    for field in fields.values():
        need(not field.required or field.name in values, place,
             f"{field.name} is missing")
    return values


def record(kind, payload, flags=0):
    return pack("<HHI", kind, flags, len(payload)) + payload


def open_object(store, word, name):
    """The plaintext of a snapshot, a pin or a condemned list."""
    data = store.read(name)
    need(len(data) <= OBJECT_MAX, name, "too large")
    head = header.parse(data, word, store.config.store_id, name)
    need(len(data) >= header.SIZE + TAG, name, "too short")
    key = store.masters.object_key(word, head.salt)
    return unseal(key, header.SIZE, data[header.SIZE:],
                  data[:header.SIZE] + name.encode(), name)


def seal_object(masters, word, store_id, salt, name, plain, hook):
    head = header.build(word, store_id, salt, hook)
    key = masters.object_key(word, salt)
    return hook(word + ".object", head + seal(
        key, header.SIZE, plain, head + name.encode()))


def pairs(data, place):
    """Bad ranges: ascending, apart from each other, none empty."""
    need(data and len(data) % 16 == 0, place, "wrong length")
    need(len(data) <= 16 * 65536, place, "too many ranges")
    values = unpack(f"<{len(data) // 8}Q", data)
    ranges = list(zip(values[::2], values[1::2]))
    end = 0
    for offset, length in ranges:
        need(length > 0 and offset >= end, place, "ranges do not ascend")
        end = offset + length
    return ranges
