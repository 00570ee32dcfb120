"""Test-time augmentation: predictions of changed versions of an image are turned back and averaged."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cardioseg.segmentation import unet


def predict(
    network: nn.Module,
    images: np.ndarray,
    device: torch.device,
    views: Sequence[Mapping[str, float]] | None,
    exactness: str = "float32",
) -> np.ndarray:
    """Predict class probabilities of slices as they are and in other views, and average them.

    Parameters
    ----------
    network : Module
        From slices (n, 1, y, x) to class scores (n, classes, y, x).
    images : ndarray of float32, shape (z, y, x)
        Slices in [-1, 1].
    device : torch.device
        Where the network computes.
    views : sequence of mapping, or None
        Each view has `rotation_degrees` about the slice's centre, `scale` (above 1 enlarges) and `gamma`, the power to
        which intensities from 0 to 1 are raised. Without views the slices are used only as they are.
    exactness : one of 'float32', 'tf32', 'bfloat16'
        As in `unet.predict`.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        Probabilities that sum to 1 over the classes.
    """
    matrices = [_matrix(view["rotation_degrees"], view["scale"]) for view in views or ()]
    seen = [
        2 * ((_warp(torch.from_numpy(images)[:, None], matrix) + 1) / 2).clamp(0, 1) ** view["gamma"] - 1
        for view, matrix in zip(views or (), matrices, strict=True)
    ]
    # All in one call, in which the network is made ready once.
    together = np.concatenate([images, *(slices[:, 0].numpy() for slices in seen)])
    mean, *of_views = np.split(unet.predict(network, together, device, exactness), 1 + len(seen), axis=1)
    if not seen:
        return mean
    for probabilities, matrix in zip(of_views, matrices, strict=True):
        back = _warp(torch.from_numpy(probabilities).movedim(1, 0), torch.linalg.inv(matrix))
        mean += (back / back.sum(dim=1, keepdim=True)).movedim(1, 0).numpy()
    return mean / mean.sum(axis=0)


def _matrix(degrees: float, scale: float) -> Tensor:
    """Return the matrix that maps a view's pixels (x, y, 1; from -1 to 1) to those of the image."""
    cosine, sine = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    return torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def _warp(maps: Tensor, matrix: Tensor) -> Tensor:
    """Resample maps (n, channels, y, x), square in-plane; edge pixels are repeated beyond the edge."""
    grid = F.affine_grid(matrix[None, :2].expand(len(maps), -1, -1), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
