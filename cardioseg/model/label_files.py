"""Names and colours of a mask's codes, for programs that show masks: 3D Slicer and ITK-SNAP."""

from collections.abc import Mapping
from pathlib import Path

from cardioseg.core import files
from cardioseg.figures import style


def write(folder: Path, name: str, codes: Mapping[str, int]) -> None:
    """Write a colour table of 3D Slicer, `NAME.ctbl`, and a label file of ITK-SNAP, `NAME.label`.

    The colours are those of the figures.

    Parameters
    ----------
    folder : Path
        The folder to write to.
    name : str
        The name of both files.
    codes : mapping of str to int
        The value of each structure in the masks, in the order of the figures' colours.
    """
    slicer = ["# Color table: index name red green blue alpha", "0 background 0 0 0 0"]
    snap = ["# ITK-SnAP Label Description File", '0 0 0 0 0 0 0 "Clear Label"']
    for index, (structure, code) in enumerate(codes.items()):
        red, green, blue = style.rgb(index)
        slicer.append(f"{code} {'_'.join(structure.split())} {red} {green} {blue} 255")
        title = structure.replace('"', "'")
        snap.append(f'{code} {red} {green} {blue} 1 1 1 "{title}"')
    files.write_text(folder / f"{name}.ctbl", "\n".join(slicer) + "\n")
    files.write_text(folder / f"{name}.label", "\n".join(snap) + "\n")
