# SPDX-License-Identifier: Apache-2.0
"""Trees of chunks: a volume's content and tags. "Tree", "Change filter"."""

from struct import unpack_from

from .errors import Corrupt, need, need_zero
from .keys import KIND_DATA, KIND_NODE, NULL_ID

FANOUT = 256


def level_of(chunks):
    """The root's level of a volume of so many chunks."""
    level = 1
    while FANOUT ** level < chunks:
        level += 1
    return level


def parse_node(content, level, place):
    """The ids of a node, holes at its end left out."""
    need(len(content) >= 8, place, "node is too short")
    need(content[0] == level, place, f"level {content[0]}, not {level}")
    need_zero(content[1:4], place)
    count = unpack_from("<I", content, 4)[0]
    need(1 <= count <= FANOUT, place, f"{count} children")
    need(len(content) == 8 + 32 * count, place, "wrong length")
    ids = [content[at:at + 32] for at in range(8, len(content), 32)]
    need(ids[-1] != NULL_ID, place, "holes at the end are not cut")
    return ids


def _leaves(store, node, level, first, chunks):
    """(number, id) of the data chunks of one subtree, in order."""
    if node == NULL_ID:
        return
    place = f"node {node.hex()[:16]}"
    ids = parse_node(store.chunk(node, KIND_NODE), level, place)
    span = FANOUT ** (level - 1)
    need(first + (len(ids) - 1) * span < chunks, place,
         "child past the end of the volume")
    for i, child in enumerate(ids):
        if level == 1:
            if child != NULL_ID:
                yield first + i, child
        else:
            yield from _leaves(store, child, level - 1, first + i * span,
                               chunks)


def read(store, volume):
    """(chunk number, content) of all that is no hole, in order."""
    chunks = volume.chunks
    if not chunks:
        need(volume.root == NULL_ID, volume.name, "empty, but has a root")
    for number, chunk_id in _leaves(store, volume.root, level_of(chunks), 0,
                                    chunks):
        content = store.chunk(chunk_id, KIND_DATA)
        size = min(volume.chunk_size, volume.size -
                   number * volume.chunk_size)
        place = f"volume '{volume.name}' chunk {number}"
        need(len(content) == size, place, "wrong length")
        need(content != bytes(size), place, "zeros that are no hole")
        yield number, content


def check_tags(store, volume):
    """Recompute the change filter's tags of a volume that has them."""
    tags = bytearray(16 * volume.chunks)
    for number, content in read(store, volume):
        tags[16 * number:16 * number + 16] = store.masters.filter_tag(
            number, content)
    stored = bytearray(len(tags))
    for number, content in read(store, volume.tags_volume()):
        stored[number * 16384:number * 16384 + len(content)] = content
    if stored != tags:
        raise Corrupt(f"volume '{volume.name}': tags differ from content")
