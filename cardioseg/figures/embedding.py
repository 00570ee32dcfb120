"""Pictures inside a page."""

import base64
import io
from pathlib import Path

from PIL import Image


def address(path: Path, width: int) -> str:
    """Return a picture as the address of its own content, so that a page holds it.

    Parameters
    ----------
    path : Path
        The picture's file.
    width : int
        The largest width in pixels; a wider picture is made smaller.

    Returns
    -------
    str
        The address (`data:`), empty if there is no such file.
    """
    if not path.is_file():
        return ""
    with Image.open(path) as stored:
        picture = stored.convert("RGB")
    picture.thumbnail((width, 10 * width))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
