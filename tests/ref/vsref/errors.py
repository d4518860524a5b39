# SPDX-License-Identifier: Apache-2.0
"""What a reader can answer, with the exit status of the vmsnap command."""


class Refusal(Exception):
    status = 1


class Corrupt(Refusal):
    status = 3


class NotFound(Refusal):
    status = 4


class TooNew(Refusal):
    status = 6


class WrongKey(Refusal):
    status = 7


def need(condition, place, what):
    """Refuse as corrupt unless the condition holds."""
    if not condition:
        raise Corrupt(f"{place}: {what}")


def need_zero(data, place):
    need(not any(data), place, "reserved bytes are not zero")
