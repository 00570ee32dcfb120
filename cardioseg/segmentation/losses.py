"""The composite segmentation loss of paper section 2.2."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(scores: Tensor, truth: Tensor, class_weights: Tensor) -> Tensor:
    """Compute L_wce = -sum_m w^m y^m log p^m, averaged over pixels and images.

    Parameters
    ----------
    scores : Tensor of shape (n, classes, y, x)
        Scores before the softmax.
    truth : Tensor of int, shape (n, y, x), or Tensor of shape (n, classes, y, x)
        The true classes, or how probable each class is.
    class_weights : Tensor of shape (classes,)
        The weights w.

    Returns
    -------
    Tensor of shape ()
        The loss.
    """
    return F.cross_entropy(scores, truth, class_weights, reduction="sum") / scores[:, 0].numel()


def edge_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Compute L_edge = sum_m sum_k ||S_k p^m - S_k y^m||_2, averaged over images.

    The sums are over foreground classes m and Sobel directions k.

    The filters are normalised so that they estimate the derivative (weights / 8). The norm is divided by the square
    root of the number of pixels. So the paper's lambda means the same for every image size.

    Parameters
    ----------
    probabilities : Tensor of shape (n, classes, y, x)
        Probabilities; class 0 is background.
    truth : Tensor
        As in `weighted_cross_entropy`.

    Returns
    -------
    Tensor of shape ()
        The loss.
    """
    if truth.ndim < probabilities.ndim:
        classes = torch.arange(probabilities.shape[1], device=truth.device)
        truth = truth[:, None] == classes.view(1, -1, 1, 1)
    difference = probabilities[:, 1:] - truth[:, 1:].to(probabilities.dtype)
    mean_square = torch.stack([edges.square().mean(dim=(2, 3)) for edges in _sobel(difference)])
    return (mean_square + 1e-12).sqrt().sum() / len(probabilities)


def composite_loss(scores: Tensor, truth: Tensor, class_weights: Tensor, edge_weight: float) -> Tensor:
    """Compute L_seg = L_wce + lambda L_edge.

    Parameters
    ----------
    scores, truth, class_weights : Tensor
        As in `weighted_cross_entropy`.
    edge_weight : float
        The paper's lambda (0.5).

    Returns
    -------
    Tensor of shape ()
        The loss.
    """
    return weighted_cross_entropy(scores, truth, class_weights) + edge_weight * edge_loss(scores.softmax(dim=1), truth)


def _sobel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Apply both 3 x 3 Sobel filters (divided by 8) to maps (n, channels, y, x), with zeros beyond the edge.

    They are computed as sums of shifted maps, because on a CPU a convolution of single channels costs as much as a
    network's layer.
    """
    padded = F.pad(maps, (1, 1, 1, 1))
    left, middle, right = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    slope, smoothed = right - left, left + 2 * middle + right
    horizontal = slope[..., :-2, :] + 2 * slope[..., 1:-1, :] + slope[..., 2:, :]
    vertical = smoothed[..., 2:, :] - smoothed[..., :-2, :]
    return horizontal / 8, vertical / 8
