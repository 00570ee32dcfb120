"""Random seeds derived from what they are for, so that no draw depends on which other draws came before it."""

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """Derive a seed from a base seed and a purpose.

    Parameters
    ----------
    seed : int
        The base seed, one for a whole run.
    *purpose : str or int
        What the draws are for, for instance a network, a patient and an iteration. Different purposes give independent
        streams.

    Returns
    -------
    int
        A seed of 63 bits, the same on every machine.

    Examples
    --------
    >>> derive(1, "synthesis", "patient 6")
    7025555462313063431
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
