"""In-plane resampling, and the way back to the raw grid. Slices are never resampled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from cardioseg.preprocessing import bias_field


def to_common_pixels(raw: Volume, settings: Mapping[str, Any]) -> Volume:
    """Correct a raw image for the coils' shading, if configured, and resample it in-plane.

    Parameters
    ----------
    raw : Volume of shape (z, y, x)
        The image.
    settings : mapping
        The section `resampling` of the configuration: `spacing_mm` of the new square pixels, and
        `bias_field_correction`, None or the arguments of `bias_field.correct`.

    Returns
    -------
    Volume of float32, shape (z, y, x)
        The resampled image.

    Raises
    ------
    InputError
        No bias field can be estimated, see `bias_field.correct`.
    """
    correction = settings["bias_field_correction"]
    corrected = bias_field.correct(raw, **correction) if correction else raw
    return resample(corrected, settings["spacing_mm"])


def interpolation_matrix(inputs: int, outputs: int, scale: float, offset: float) -> np.ndarray:
    """Make the matrix of linear interpolation along one axis.

    Output i lies at the input index offset + scale * i; a negative scale runs backwards. If abs(scale) > 1, the
    triangular kernel is wider by this factor, so that nothing aliases.

    Parameters
    ----------
    inputs, outputs : int
        Lengths of the axis.
    scale, offset : float
        In input pixels.

    Returns
    -------
    ndarray of float32, shape (outputs, inputs)
        Rows that sum to 1, or are all 0 for outputs beyond the field of view.
    """
    position = offset + scale * np.arange(outputs)
    distance = np.abs(position[:, None] - np.arange(inputs)[None, :]) / max(1.0, abs(scale))
    weights = np.clip(1.0 - distance, 0.0, None)
    weights[(position < -0.5 - 1e-6) | (position > inputs - 0.5 + 1e-6)] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0).astype(np.float32)


def resample(volume: Volume, spacing_mm: float) -> Volume:
    """Resample each slice to square pixels, centred on the same field of view.

    Parameters
    ----------
    volume : Volume of shape (..., z, y, x)
        The volume.
    spacing_mm : float
        The new pixel size in mm (paper 3.2: 1.25).

    Returns
    -------
    Volume of float32
        The resampled volume.
    """
    rows, row_scale, row_offset = _centred(volume.array.shape[-2], volume.spacing[1], spacing_mm)
    columns, column_scale, column_offset = _centred(volume.array.shape[-1], volume.spacing[2], spacing_mm)
    vertical = interpolation_matrix(volume.array.shape[-2], rows, row_scale, row_offset)
    horizontal = interpolation_matrix(volume.array.shape[-1], columns, column_scale, column_offset)
    array = vertical @ volume.array.astype(np.float32) @ horizontal.T
    return Volume(array, sub_grid(volume.affine, (row_scale, column_scale), (row_offset, column_offset)))


def labels_on_grid(labels: Volume, grid: Volume, classes: int) -> np.ndarray:
    """Resample labels in-plane onto the grid of another volume with the same slices.

    Each class is resampled as a map, and the largest map wins.

    Parameters
    ----------
    labels : Volume of int, shape (z, y, x)
        The labels.
    grid : Volume
        The volume whose grid is taken.
    classes : int
        The number of classes, with the background.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        The labels; background where the given labels do not reach.

    Raises
    ------
    InputError
        The grids do not share slices and in-plane axes.
    """
    return most_probable(Volume(one_hot(labels.array, classes), labels.affine), grid.array.shape[-3:], grid.affine)


def read_labels_on_grid(labels: Path | str, image: Path | str, grid: Volume, codes: volumes.Codes) -> np.ndarray:
    """Read the labels of a raw image and resample them onto the grid of a volume that was made from it.

    Parameters
    ----------
    labels, image : path
        Files of the labels and of the raw image.
    grid : Volume
        A resampled or cropped volume (z, y, x).
    codes : mapping of str to int or sequence of int
        The file's values for each structure, see `volumes.read_labels`.

    Returns
    -------
    ndarray
        (z, y, x), uint8, see `labels_on_grid`.

    Raises
    ------
    InputError
        If a file cannot be used, see `volumes.read_labels`, or is of another image than the grid.
    """
    raw = volumes.read_labels(labels, codes, volumes.read_image(image))
    return labels_on_grid(raw, grid, 1 + len(volumes.structures(codes)))


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Turn labels (z, y, x) into float32 maps (classes, z, y, x) of 0 and 1.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        The classes.
    classes : int
        Their number, background included.

    Returns
    -------
    ndarray of float32, shape (classes, z, y, x)
        The maps.
    """
    return (labels[None] == np.arange(classes).reshape(-1, 1, 1, 1)).astype(np.float32)


def most_probable(maps: Volume, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Resample maps in-plane onto a grid and take the class of the largest map.

    Parameters
    ----------
    maps : Volume of shape (classes, z, y, x)
        The maps.
    shape : tuple of int
        Shape (z, y, x) of the grid.
    affine : ndarray of shape (4, 4)
        Affine of the grid, which has the same slices.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        The classes; background where the maps do not reach.

    Raises
    ------
    InputError
        The grids do not share slices and in-plane axes.
    """
    resampled, rows, columns = _onto(maps, shape, affine)
    labels = np.zeros(shape, np.uint8)
    labels[:, rows, columns] = resampled.argmax(axis=0)
    return labels


def on_grid(maps: Volume, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Resample maps in-plane onto a grid.

    The grid's rows may run along the maps' columns, and either backwards.

    Parameters
    ----------
    maps : Volume of shape (channels, z, y, x)
        The maps.
    shape : tuple of int
        Shape (z, y, x) of the grid.
    affine : ndarray of shape (4, 4)
        Affine of the grid, which has the same slices.

    Returns
    -------
    ndarray of float32, shape (channels, z, y, x)
        The resampled maps; 0 where they do not reach.

    Raises
    ------
    InputError
        The grids do not share slices and in-plane axes.
    """
    resampled, rows, columns = _onto(maps, shape, affine)
    array = np.zeros((len(maps.array), *shape), np.float32)
    array[:, :, rows, columns] = resampled
    return array


def _onto(maps: Volume, shape: tuple[int, int, int], affine: np.ndarray) -> tuple[np.ndarray, slice, slice]:
    """Resample maps onto the rows and columns of a grid that they reach: a crop reaches a small part of an image."""
    array, mapping = maps.array.astype(np.float32), np.linalg.inv(maps.affine) @ affine
    if abs(mapping[1, 0]) > abs(mapping[0, 0]):  # the one's rows are the other's columns
        array, mapping = array.swapaxes(-1, -2), mapping[[1, 0, 2, 3]]
    scale_x, scale_y, scale_z = np.diag(mapping)[:3]
    straight = np.allclose(mapping[:3, :3], np.diag([scale_x, scale_y, scale_z]), atol=1e-3)
    if not straight or abs(scale_z - 1) > 1e-3 or abs(mapping[2, 3]) > 1e-2 or array.shape[1] != shape[0]:
        raise InputError(
            "the two grids do not share their slices: the volume was not made from this image. Make it again."
        )
    vertical = interpolation_matrix(array.shape[-2], shape[1], scale_y, mapping[1, 3])
    horizontal = interpolation_matrix(array.shape[-1], shape[2], scale_x, mapping[0, 3])
    rows, columns = _reached(vertical), _reached(horizontal)
    return vertical[rows] @ array @ horizontal[columns].T, rows, columns


def _reached(matrix: np.ndarray) -> slice:
    """Return the outputs of an interpolation that lie within the field of view."""
    reached = np.flatnonzero(matrix.any(axis=1))
    return slice(reached[0], reached[-1] + 1) if len(reached) else slice(0)


def _centred(length: int, spacing: float, new_spacing: float) -> tuple[int, float, float]:
    """Return new length, scale and offset (in old pixels) of an axis that is resampled around its centre."""
    scale = new_spacing / spacing
    new_length = max(1, round(length / scale))
    return new_length, scale, ((length - 1) - (new_length - 1) * scale) / 2


def sub_grid(affine: np.ndarray, scale: tuple[float, float], offset: tuple[float, float]) -> np.ndarray:
    """Compute the affine of a grid whose in-plane index i lies at the index offset + scale * i of another grid.

    Parameters
    ----------
    affine : ndarray of shape (4, 4)
        Affine of the other grid.
    scale, offset : tuple of float
        In pixels of the other grid, (y, x).

    Returns
    -------
    ndarray of shape (4, 4)
        The affine.
    """
    step = np.eye(4)
    step[0, 0], step[1, 1] = scale[1], scale[0]
    step[0, 3], step[1, 3] = offset[1], offset[0]
    return affine @ step
