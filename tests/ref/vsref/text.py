# SPDX-License-Identifier: Apache-2.0
"""Text and names: what may stand in them."""

import re

from .errors import Corrupt, need

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def text(data, limit, place):
    """UTF-8 without NUL, at most `limit` bytes."""
    need(len(data) <= limit, place, "text is too long")
    need(b"\0" not in data, place, "NUL in text")
    try:
        return data.decode("utf-8", "strict")
    except UnicodeDecodeError as e:
        raise Corrupt(f"{place}: text is not UTF-8") from e


def name(data, place):
    value = text(data, 128, place)
    need(NAME.match(value), place, "not a name")
    return value
