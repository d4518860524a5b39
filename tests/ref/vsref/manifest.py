# SPDX-License-Identifier: Apache-2.0
"""Snapshots, pins, condemned lists and their volumes."""

from dataclasses import dataclass
from struct import unpack

from . import text
from .errors import need
from .records import (Field, blob, number, open_object, pairs, parse_list)

SIZE_MAX = 1 << 46
VOLUMES_MAX = 64


def _text(limit):
    return lambda data, place: text.text(data, limit, place)


def _totals(data, place):
    need(len(data) == 64, place, "wrong length")
    values = unpack("<8Q", data)
    need(values[7] == 0, place, "reserved bytes are not zero")
    return values[:7]


def _ids(data, place):
    need(len(data) % 32 == 0, place, "wrong length")
    return [data[i:i + 32] for i in range(0, len(data), 32)]


VOLUME = {
    1: Field("name", text.name, required=True),
    2: Field("size", number(8), required=True),
    3: Field("chunk_log2", number(4), required=True),
    4: Field("root", blob(32), required=True),
    5: Field("tags", blob(32)),
    6: Field("bad", pairs),
    7: Field("source", _text(4096)),
}


@dataclass
class Volume:
    name: str
    size: int
    chunk_size: int
    root: bytes
    tags: bytes | None = None

    @property
    def chunks(self):
        return -(-self.size // self.chunk_size)

    def tags_volume(self):
        return Volume(self.name + ".tags", 16 * self.chunks, 16384, self.tags)


def parse_volume(data, place):
    v = parse_list(data, VOLUME, place)
    place = f"{place} '{v['name']}'"
    need(v["size"] <= SIZE_MAX, place, "too large")
    need(14 <= v["chunk_log2"] <= 22, place, "chunk size out of range")
    if "bad" in v:
        need(sum(v["bad"][-1]) <= v["size"], place, "bad range past the end")
    return Volume(v["name"], v["size"], 1 << v["chunk_log2"], v["root"],
                  v.get("tags"))


SNAPSHOT = {
    1: Field("name", text.name, required=True),
    2: Field("label", text.name),
    3: Field("sequence", number(8), required=True),
    4: Field("time", number(8, signed=True), required=True),
    5: Field("parent", blob(32)),
    6: Field("host", _text(256)),
    7: Field("volume", parse_volume, required=True, many=True),
    8: Field("totals", _totals),
    11: Field("writer", _text(256)),
}
PIN = {
    1: Field("owner", _text(256), required=True),
    2: Field("host", _text(256)),
    3: Field("path", _text(4096)),
    4: Field("time", number(8, signed=True), required=True),
    5: Field("volume", parse_volume, required=True, many=True),
    6: Field("snapshot", blob(32)),
}
CONDEMNED = {
    1: Field("time", number(8, signed=True), required=True),
    2: Field("not before", number(8, signed=True), required=True),
    3: Field("packs", _ids, required=True),
}


def _check_volumes(volumes, place):
    need(len(volumes) <= VOLUMES_MAX, place, "too many volumes")
    need(len({v.name for v in volumes}) == len(volumes), place,
         "two volumes of one name")


@dataclass
class Snapshot:
    id: bytes
    name: str
    label: str | None
    sequence: int
    time: int
    volumes: list

    @property
    def rank(self):
        return self.sequence, self.time, self.id


def read_snapshot(store, snapshot_id):
    place = "snapshots/" + snapshot_id.hex()
    v = parse_list(open_object(store, "snapshot", place), SNAPSHOT, place)
    need(store.masters.name_tag(v["name"]) == snapshot_id[16:24], place,
         "its name is not the one in its id")
    need(v["sequence"] >= 1, place, "sequence 0")
    need(v["sequence"] == int.from_bytes(snapshot_id[24:], "big"), place,
         "its sequence is not the one in its id")
    _check_volumes(v["volume"], place)
    return Snapshot(snapshot_id, v["name"], v.get("label"), v["sequence"],
                    v["time"], v["volume"])


def read_pin(store, pin_id):
    place = "pins/" + pin_id.hex()
    v = parse_list(open_object(store, "pin", place), PIN, place)
    _check_volumes(v["volume"], place)
    return v["volume"]


def read_condemned(store, list_id):
    place = "condemned/" + list_id.hex()
    return parse_list(open_object(store, "condemned", place), CONDEMNED,
                      place)["packs"]
