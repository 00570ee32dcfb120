"""Random seeds derived from what they are for, so that no draw depends on another's place in time."""

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for (seed, purpose), the same on every machine; other purposes give independent streams."""
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
