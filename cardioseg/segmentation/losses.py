"""The composite segmentation loss of paper section 2.2."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(scores: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """L_wce = -sum_m w^m y^m log p^m, averaged over pixels and images.

    scores: (n, classes, y, x) before the softmax; labels: (n, y, x) integers; class_weights: (classes,).
    """
    return F.cross_entropy(scores, labels, class_weights, reduction="sum") / labels.numel()


def edge_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """L_edge = sum over foreground classes m and Sobel directions k of ||S_k p^m - S_k y^m||_2, averaged over images.

    probabilities: (n, classes, y, x), class 0 the background; labels: (n, y, x) integers. The filters are normalised to
    estimate the derivative (weights / 8) and the norm is divided by the square root of the number of pixels, so that
    the paper's lambda means the same for every image size.
    """
    foreground = torch.arange(1, probabilities.shape[1], device=labels.device)
    truth = labels[:, None] == foreground.view(1, -1, 1, 1)
    difference = probabilities[:, 1:] - truth.to(probabilities.dtype)
    mean_square = torch.stack([edges.square().mean(dim=(2, 3)) for edges in _sobel(difference)])
    return (mean_square + 1e-12).sqrt().sum() / len(probabilities)


def composite_loss(scores: Tensor, labels: Tensor, class_weights: Tensor, edge_weight: float) -> Tensor:
    """L_seg = L_wce + lambda L_edge; arguments as above, lambda = edge_weight (paper: 0.5)."""
    return weighted_cross_entropy(scores, labels, class_weights) + edge_weight * edge_loss(
        scores.softmax(dim=1), labels
    )


def _sobel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Both 3 x 3 Sobel filters (divided by 8) of maps (n, channels, y, x), zero beyond the edge.

    As sums of shifted maps: on a CPU a convolution of single channels costs as much as a network's layer.
    """
    padded = F.pad(maps, (1, 1, 1, 1))
    left, middle, right = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    slope, smoothed = right - left, left + 2 * middle + right
    horizontal = slope[..., :-2, :] + 2 * slope[..., 1:-1, :] + slope[..., 2:, :]
    vertical = smoothed[..., 2:, :] - smoothed[..., :-2, :]
    return horizontal / 8, vertical / 8
