"""Pictures inside a page."""

import base64
import io
from pathlib import Path

from PIL import Image


def address(path: Path, width: int) -> str:
    """Return a picture, no wider than a number of pixels, as the address of its own content; empty if there is none."""
    if not path.is_file():
        return ""
    with Image.open(path) as stored:
        picture = stored.convert("RGB")
    picture.thumbnail((width, 10 * width))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
