"""Segmentation of late-gadolinium-enhanced cardiac MR by unsupervised multi-modal style transfer (Chen et al. 2019).

`load_model` loads a trained model, to be used from Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cardioseg.model.segmenter import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    """Import `load_model`, and PyTorch with it, when it is asked for: most of the library does without."""
    if name == "load_model":
        from cardioseg.model.segmenter import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
