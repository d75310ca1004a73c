"""Seeds made from names, so that who is played beside whom, and in which order, changes nothing.

An episode's seed comes from its name and the run's seed, a turn's seed from the episode's. Whoever
plays an episode again, alone or in a batch of a thousand, draws the same numbers.
"""

import hashlib

_BITS = 53  # whole in a float, and in every JSON reader


def derive(*parts: object) -> int:
    """Returns a seed, 0 <= seed < 2**53, from the SHA-256 of the parts' repr.

    Args:
      parts: str, int, float, bool, None, or tuples of these: repr tells them apart, and is the
        same on every machine.
    """
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _BITS)


def uniform(seed: int) -> float:
    """Returns the number in [0, 1) that belongs to a seed; neighbouring seeds are unrelated."""
    return derive("uniform", seed) / 2**_BITS
