"""Damage of every plain kind to a file's bytes, by a seed."""

import random
from collections.abc import Iterator


def damaged(content: bytes, count: int, seed: int | str) -> Iterator[tuple[str, bytes]]:
    """So many damaged copies, each another content than the original's: what was done to it, and the bytes.

    The kinds take turns: cut off, a flipped bit, another byte, bytes inserted, left out, repeated, set to zero, two
    blocks exchanged, other bytes at the end, a header of the file itself in its midst.
    """
    rng = random.Random(seed)
    kinds = list(_KINDS)
    done = 0
    while done < count:
        kind = kinds[done % len(kinds)]
        copy = bytearray(content)
        _KINDS[kind](copy, rng)
        if copy != content:
            done += 1
            yield kind, bytes(copy)


def _block(copy: bytearray, rng: random.Random) -> slice:
    """A block of the file, more often a short one; half of them begin in the first 512 bytes, where headers are."""
    start = rng.randrange(min(len(copy), 512) if rng.random() < 0.5 else len(copy))
    return slice(start, start + min(len(copy) - start, 2 ** rng.randrange(12)))


def _cut(copy: bytearray, rng: random.Random) -> None:
    del copy[rng.randrange(len(copy)) :]


def _flip(copy: bytearray, rng: random.Random) -> None:
    copy[_block(copy, rng).start] ^= 1 << rng.randrange(8)


def _replace(copy: bytearray, rng: random.Random) -> None:
    copy[_block(copy, rng).start] = rng.randrange(256)


def _insert(copy: bytearray, rng: random.Random) -> None:
    place = _block(copy, rng)
    copy[place.start : place.start] = rng.randbytes(place.stop - place.start)


def _omit(copy: bytearray, rng: random.Random) -> None:
    del copy[_block(copy, rng)]


def _repeat(copy: bytearray, rng: random.Random) -> None:
    place = _block(copy, rng)
    copy[place.start : place.start] = copy[place]


def _zero(copy: bytearray, rng: random.Random) -> None:
    place = _block(copy, rng)
    copy[place] = bytes(place.stop - place.start)


def _exchange(copy: bytearray, rng: random.Random) -> None:
    middle = rng.randrange(1, len(copy)) if len(copy) > 1 else 0
    copy[:] = copy[middle:] + copy[:middle]


def _append(copy: bytearray, rng: random.Random) -> None:
    copy += rng.randbytes(rng.randrange(1, 64))


def _beginning_again(copy: bytearray, rng: random.Random) -> None:
    place = _block(copy, rng)
    copy[place] = copy[: place.stop - place.start]


_KINDS = {
    "cut off": _cut,
    "a bit flipped": _flip,
    "a byte replaced": _replace,
    "bytes inserted": _insert,
    "bytes left out": _omit,
    "bytes repeated": _repeat,
    "bytes set to zero": _zero,
    "halves exchanged": _exchange,
    "bytes appended": _append,
    "its beginning in its midst": _beginning_again,
}
