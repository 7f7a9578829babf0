"""Damage to the bytes of any file."""

from __future__ import annotations

import gzip
import random
from pathlib import Path


def damaged(content: bytes, rng: random.Random) -> bytes:
    """`content` with one to three pieces of damage."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(DAMAGES)(data, rng)
    return bytes(data)


def damage_file(path: Path, rng: random.Random) -> None:
    """Damage a file; a compressed volume as often within as outside of its compression."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        path.write_bytes(gzip.compress(damaged(gzip.decompress(content), rng), 1))
    else:
        path.write_bytes(damaged(content, rng))


def _span(data: bytearray, rng: random.Random) -> tuple[int, int]:
    """A piece; as often in the first 512 bytes, where headers are, as anywhere."""
    limit = min(len(data), 512) if rng.random() < 0.4 else len(data)
    start = rng.randrange(limit) if limit else 0
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 64, 300)))


def _flip(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 3, 10, 40))):
        if data:
            start, _ = _span(data, rng)
            data[start] ^= 1 << rng.randrange(8)
    return data


def _random(data: bytearray, rng: random.Random) -> bytearray:
    start, end = _span(data, rng)
    data[start:end] = rng.randbytes(end - start)
    return data


def _fill(data: bytearray, rng: random.Random) -> bytearray:
    start, end = _span(data, rng)
    data[start:end] = bytes([rng.choice((0, 255))]) * (end - start)
    return data


def _cut(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data))] if data else data


def _remove(data: bytearray, rng: random.Random) -> bytearray:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _double(data: bytearray, rng: random.Random) -> bytearray:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 2, 9)) + data[end:]


def _insert(data: bytearray, rng: random.Random) -> bytearray:
    start, _ = _span(data, rng)
    return data[:start] + rng.randbytes(rng.choice((1, 2, 7, 100))) + data[start:]


DAMAGES = (_flip, _flip, _random, _fill, _cut, _remove, _double, _insert)
