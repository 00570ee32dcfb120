"""The composite segmentation loss of paper section 2.2."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(
    scores: Tensor, labels: Tensor, class_weights: Tensor, trust: Tensor | None = None
) -> Tensor:
    """Compute L_wce = -sum_m w^m y^m log p^m, averaged over pixels and images.

    Parameters
    ----------
    scores : Tensor of shape (n, classes, y, x)
        Scores before the softmax.
    labels : Tensor of int, shape (n, y, x)
        The true classes.
    class_weights : Tensor of shape (classes,)
        The weights w.
    trust : Tensor of shape (n, y, x), optional
        How much each pixel's label counts; by default 1.

    Returns
    -------
    Tensor of shape ()
        The loss.
    """
    if trust is None:
        return F.cross_entropy(scores, labels, class_weights, reduction="sum") / labels.numel()
    return (trust * F.cross_entropy(scores, labels, class_weights, reduction="none")).mean()


def edge_loss(probabilities: Tensor, labels: Tensor, trust: Tensor | None = None) -> Tensor:
    """Compute L_edge = sum_m sum_k ||S_k p^m - S_k y^m||_2, averaged over images.

    The sums are over foreground classes m and Sobel directions k.

    The filters are normalised so that they estimate the derivative (weights / 8). The norm is divided by the square
    root of the number of pixels. So the paper's lambda means the same for every image size.

    Parameters
    ----------
    probabilities : Tensor of shape (n, classes, y, x)
        Probabilities; class 0 is background.
    labels : Tensor of int, shape (n, y, x)
        The true classes.
    trust : Tensor of shape (n, y, x), optional
        How much the square of each pixel counts in the norm; by default 1.

    Returns
    -------
    Tensor of shape ()
        The loss.
    """
    foreground = torch.arange(1, probabilities.shape[1], device=labels.device)
    truth = labels[:, None] == foreground.view(1, -1, 1, 1)
    difference = probabilities[:, 1:] - truth.to(probabilities.dtype)
    squares = [edges.square() for edges in _sobel(difference)]
    if trust is not None:
        squares = [trust[:, None] * square for square in squares]
    mean_square = torch.stack([square.mean(dim=(2, 3)) for square in squares])
    return (mean_square + 1e-12).sqrt().sum() / len(probabilities)


def composite_loss(
    scores: Tensor, labels: Tensor, class_weights: Tensor, edge_weight: float, trust: Tensor | None = None
) -> Tensor:
    """Compute L_seg = L_wce + lambda L_edge.

    Parameters
    ----------
    scores, labels, class_weights : Tensor
        As in `weighted_cross_entropy`.
    edge_weight : float
        The paper's lambda (0.5).
    trust : Tensor of shape (n, y, x), optional
        How much each pixel's label counts; by default 1.

    Returns
    -------
    Tensor of shape ()
        The loss.
    """
    return weighted_cross_entropy(scores, labels, class_weights, trust) + edge_weight * edge_loss(
        scores.softmax(dim=1), labels, trust
    )


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
