# SPDX-License-Identifier: Apache-2.0
"""Masters, what is derived from them, and the key slots. "Keys"."""

import hashlib
import hmac
from dataclasses import dataclass
from struct import pack, unpack_from

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import Corrupt, TooNew, WrongKey, need, need_zero
from .header import check_start, check_sum, with_sum
from .text import text

SLOT_MAGIC = b"VSKEYSLT"
SLOT_SIZE = 328
CLEAR, SCRYPT = 0, 1
KIND_DATA, KIND_NODE = 0, 1
NULL_ID = bytes(32)
TAG = 16


@dataclass(frozen=True)
class Masters:
    id_key: bytes
    data_key: bytes
    filter_key: bytes

    def object_key(self, word, salt):
        return self.derive(salt, b"vmsnap v1 " + word.encode())

    def derive(self, salt, info):
        return HKDF(SHA256(), 32, salt, info).derive(self.data_key)

    def chunk_id(self, kind, content):
        return self._mac(bytes([kind]) + content)

    def name_tag(self, name):
        return self._mac(b"\x10" + name.encode())[:8]

    def filter_tag(self, number, content):
        """The change filter's tag of one chunk; None is a hole."""
        if content is None:
            return bytes(16)
        return AESGCM(self.filter_key).encrypt(nonce(number), b"", content)

    def config_mac(self, data):
        key = self.derive(data[24:40] + bytes(16), b"vmsnap v1 config")
        return hmac.digest(key, data[:96], "sha256")

    def _mac(self, data):
        return hmac.digest(self.id_key, data, "sha256")


def nonce(offset):
    return pack("<QI", offset, 0)


def seal(key, offset, plain, aad=b""):
    return AESGCM(key).encrypt(nonce(offset), plain, aad)


def unseal(key, offset, sealed, aad, place):
    try:
        return AESGCM(key).decrypt(nonce(offset), sealed, aad)
    except (InvalidTag, ValueError) as e:
        raise Corrupt(f"{place}: offset {offset}: seal is broken") from e


def _scrypt(passphrase, salt, n_log2, r, p):
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=1 << n_log2,
                          r=r, p=p, maxmem=1 << 29, dklen=32)


@dataclass
class Slot:
    kind: int
    slot_id: bytes
    store_id: bytes
    made: int
    n_log2: int
    r: int
    p: int
    salt: bytes
    label: str
    data: bytes

    def masters(self, passphrase):
        """The masters, or WrongKey; a passphrase of None opens kind 0."""
        sealed = self.data[176:320]
        place = "key slot " + self.slot_id.hex()
        if self.kind == CLEAR:
            plain = sealed[:128]
        else:
            if passphrase is None:
                raise WrongKey(f"{place}: needs a passphrase")
            key = _scrypt(passphrase, self.salt, self.n_log2, self.r, self.p)
            try:
                plain = AESGCM(key).decrypt(bytes(12), sealed,
                                            self.data[:176])
            except InvalidTag as e:
                raise WrongKey(f"{place}: another passphrase") from e
        need_zero(plain[96:], place)
        return Masters(plain[:32], plain[32:64], plain[64:96])


def parse_slot(data, slot_id, place):
    check_start(data, SLOT_MAGIC, place)
    need(len(data) == SLOT_SIZE, place, "wrong length")
    check_sum(data, 320, place)
    kind, zero = unpack_from("<II", data, 16)
    if kind not in (CLEAR, SCRYPT):
        raise TooNew(f"{place}: slot of kind {kind}")
    need(zero == 0, place, "reserved bytes are not zero")
    need(data[24:40] == slot_id, place, "its id is not its name")
    n_log2, r, p = unpack_from("<III", data, 64)
    need_zero(data[76:80], place)
    label = data[112:176].rstrip(b"\0")
    label = text(label, 63, place)
    need(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in label), place,
         "control character in the label")
    slot = Slot(kind, slot_id, data[40:56], unpack_from("<q", data, 56)[0],
                n_log2, r, p, data[80:112], label, data)
    if kind == CLEAR:
        need_zero(data[64:112], place)
        need_zero(data[304:320], place)
        need_zero(data[272:304], place)
    else:
        need(10 <= n_log2 <= 20 and 1 <= r <= 32 and 1 <= p <= 4 and
             n_log2 < 16 * r and (128 << n_log2) * r <= 256 << 20, place,
             "scrypt out of range")
    return slot


def build_slot(masters, store_id, slot_id, passphrase, made, salt, hook,
               label=b"", cost=(10, 8, 1)):
    """The 328 bytes of a slot; passphrase None makes one of kind 0."""
    clear = passphrase is None
    n_log2, r, p = (0, 0, 0) if clear else cost
    if clear:
        salt = bytes(32)
    plain = hook("slot.masters", masters.id_key + masters.data_key +
                 masters.filter_key + bytes(32))
    head = SLOT_MAGIC + pack("<IIII", 1, 0, CLEAR if clear else SCRYPT, 0)
    head += slot_id + store_id + pack("<qIIII", made, n_log2, r, p, 0)
    head = hook("slot.head", head + salt + label.ljust(64, b"\0"))
    if clear:
        sealed = plain + bytes(TAG)
    else:
        key = _scrypt(passphrase, salt, n_log2, r, p)
        sealed = AESGCM(key).encrypt(bytes(12), plain, head)
    return with_sum(hook("slot.sealed", head + sealed))
