# SPDX-License-Identifier: Apache-2.0
"""XXH3-64, seed 0, in plain Python: Debian 12 packages no module for it."""

from struct import unpack_from

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)

M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F,
                       0x165667B19E3779F9)
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _r64(data, at):
    return unpack_from("<Q", data, at)[0]


def _r32(data, at):
    return unpack_from("<I", data, at)[0]


def _fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def _rotl(h, n):
    return (h << n | h >> (64 - n)) & M64


def _swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _avalanche(h):
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def _avalanche64(h):
    h ^= h >> 33
    h = h * P64_2 & M64
    h ^= h >> 29
    h = h * P64_3 & M64
    return h ^ h >> 32


def _mix16(data, at, secret):
    return _fold(_r64(data, at) ^ _r64(SECRET, secret),
                 _r64(data, at + 8) ^ _r64(SECRET, secret + 8))


def _to_16(data):
    n = len(data)
    if n == 0:
        return _avalanche64(_r64(SECRET, 56) ^ _r64(SECRET, 64))
    if n < 4:
        word = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return _avalanche64(word ^ _r32(SECRET, 0) ^ _r32(SECRET, 4))
    if n <= 8:
        h = _r32(data, n - 4) + (_r32(data, 0) << 32)
        h ^= _r64(SECRET, 8) ^ _r64(SECRET, 16)
        h ^= _rotl(h, 49) ^ _rotl(h, 24)
        h = h * 0x9FB21C651E98DF25 & M64
        h ^= (h >> 35) + n
        h = h * 0x9FB21C651E98DF25 & M64
        return h ^ h >> 28
    low = _r64(data, 0) ^ _r64(SECRET, 24) ^ _r64(SECRET, 32)
    high = _r64(data, n - 8) ^ _r64(SECRET, 40) ^ _r64(SECRET, 48)
    return _avalanche((n + _swap(low, 8) + high + _fold(low, high)) & M64)


def _to_240(data):
    n = len(data)
    h = n * P64_1
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            h += _mix16(data, 16 * i, 32 * i)
            h += _mix16(data, n - 16 * (i + 1), 32 * i + 16)
        return _avalanche(h & M64)
    for i in range(8):
        h += _mix16(data, 16 * i, 16 * i)
    h = _avalanche(h & M64)
    for i in range(8, n // 16):
        h += _mix16(data, 16 * i, 16 * (i - 8) + 3)
    h += _mix16(data, n - 16, 136 - 17)
    return _avalanche(h & M64)


def _stripe(acc, data, at, secret):
    for i in range(8):
        value = _r64(data, at + 8 * i)
        key = value ^ _r64(SECRET, secret + 8 * i)
        acc[i ^ 1] = acc[i ^ 1] + value & M64
        acc[i] = acc[i] + (key & M32) * (key >> 32) & M64


def _long(data):
    n = len(data)
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    for number in range((n - 1) // 64):
        _stripe(acc, data, 64 * number, 8 * (number % 16))
        if number % 16 == 15:
            for i in range(8):
                a = acc[i] ^ acc[i] >> 47 ^ _r64(SECRET, 128 + 8 * i)
                acc[i] = a * P32_1 & M64
    _stripe(acc, data, n - 64, 121)
    h = n * P64_1
    for i in range(4):
        h += _fold(acc[2 * i] ^ _r64(SECRET, 11 + 16 * i),
                   acc[2 * i + 1] ^ _r64(SECRET, 19 + 16 * i))
    return _avalanche(h & M64)


def xxh3_64(data):
    """XXH3-64 of data as an integer."""
    if len(data) <= 16:
        return _to_16(data)
    if len(data) <= 240:
        return _to_240(data)
    return _long(data)
