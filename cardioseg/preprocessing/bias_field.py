"""N4 bias field correction: removes the smooth shading that receiver coils leave in MR images."""

from collections.abc import Sequence

import numpy as np

from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

# N4's splines need this many slices. A thinner stack is continued by copies of its outer slices.
MINIMAL_SLICES = 4


def correct(volume: Volume, shrink: int, iterations: Sequence[int]) -> Volume:
    """Divide an image by the smooth multiplicative field that N4 estimates.

    The field is estimated from the voxels above Otsu's threshold. One thread computes, so that the same image gives the
    same result.

    Parameters
    ----------
    volume : Volume of shape (z, y, x)
        Image whose intensities are proportional to the signal.
    shrink : int
        Factor by which slices are reduced in-plane for the estimate, 1 or more. All slices are used.
    iterations : sequence of int
        Maximal number of iterations on each level. The field's grid is twice as fine on every next level.

    Returns
    -------
    Volume of float32, shape (z, y, x)
        The corrected image in the same geometry.

    Raises
    ------
    InputError
        No field can be estimated.

    References
    ----------
    N. J. Tustison et al.: N4ITK: improved N3 bias correction, IEEE Trans Med Imaging 2010;29:1310-1320.
    """
    import SimpleITK as sitk

    slices = len(volume.array)
    before = max(0, MINIMAL_SLICES - slices) // 2
    after = max(0, MINIMAL_SLICES - slices - before)
    thick = np.pad(volume.array.astype(np.float32), ((before, after), (0, 0), (0, 0)), mode="edge")
    image = sitk.GetImageFromArray(np.maximum(thick, 0))
    image.SetSpacing(volume.spacing[::-1])
    factors = [shrink, shrink, 1]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.SetNumberOfThreads(1)
    try:
        n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(sitk.OtsuThreshold(image, 0, 1), factors))
        field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    except RuntimeError as error:
        raise InputError(
            f"N4 cannot estimate a bias field ({str(error).strip().splitlines()[-1]}). Look at the image, lower "
            "resampling.bias_field_correction.shrink, or set resampling.bias_field_correction: null."
        ) from error
    corrected = volume.array / field[before : before + slices]
    if not np.isfinite(corrected).all():
        raise InputError(
            "N4's bias field is not finite. Look at the image, or set resampling.bias_field_correction: null."
        )
    return Volume(corrected.astype(np.float32), volume.affine, volume.notes)
