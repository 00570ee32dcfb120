"""Pairs of the images that a user names: each image with the source image of the same examination."""

from collections.abc import Mapping
from pathlib import Path

from cardioseg.core.errors import InputError


def pair(images: Mapping[str, Path], sources: Mapping[str, Path], listed: bool) -> dict[str, Path]:
    """Find the source image of each image.

    Where both have the same names, equal names belong together. Otherwise their order tells, where each was given by
    itself; a single image and a single source belong together, whatever they are called.

    Parameters
    ----------
    images, sources : mapping of str to Path
        Paths by name, as from `inputs.find`.
    listed : bool
        Whether all of them were given one by one rather than by a folder of several.

    Returns
    -------
    dict of str to Path
        By the image's name, the path of its source image.

    Raises
    ------
    InputError
        An image has no source, a source no image, or it is not clear which belong together.
    """
    twice = sorted(str(path) for path in set(images.values()) & set(sources.values()))
    if twice:
        raise InputError(f"{twice[0]}: is given as an image and as a source; expected two images of one examination.")
    if set(images) == set(sources):
        return {name: sources[name] for name in images}
    if len(images) != len(sources):
        raise InputError(f"--source: {len(sources)} for {len(images)} images; expected one source for each image.")
    if len(images) > 1 and (not listed or set(images) & set(sources)):
        alone = sorted(set(images) ^ set(sources))
        raise InputError(
            f"--source: it is not clear which images belong together ({', '.join(alone[:4])} has no partner of its "
            "name). Give images and sources one by one in the same order, or folders with the same names of files."
        )
    return dict(zip(images, sources.values(), strict=True))
