"""Names and colours of a mask's codes, for programs that show masks: 3D Slicer and ITK-SNAP."""

from collections.abc import Mapping
from pathlib import Path

from cardioseg.core import files
from cardioseg.figures import style
from cardioseg.model import results


def write(folder: Path, name: str, codes: Mapping[str, int]) -> None:
    """Write a colour table of 3D Slicer, `NAME.ctbl`, and a label file of ITK-SNAP, `NAME.label`.

    The colours are those of the figures. Files of these names that hold something else are kept under other names.

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
    for path, lines in ((folder / f"{name}.ctbl", slicer), (folder / f"{name}.label", snap)):
        text = "\n".join(lines) + "\n"
        results.keep_edited(path, text)
        files.write_text(path, text)
