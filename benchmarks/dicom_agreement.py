"""How far the mask of a phantom patient, of no split, changes where its image comes as DICOM and stored another way.

    python benchmarks/dicom_agreement.py RESULTS [SEED ...]

RESULTS is the folder of a workflow trained on the phantom. Each line is a version of the image: Dice of LV, MYO and RV
with the mask of the NIfTI image, each voxel of which is looked up in the version's mask.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch

import dicom_files
from cardioseg.cohort import dicom
from cardioseg.core import volumes
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import metrics
from cardioseg.model import segmentation, trained_model
from cardioseg.phantoms import heart

PATIENT = 60
SLOPE = 0.05


def versions(image: Volume) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Arrays (z, y, x) and affines of the image by what was done to it."""
    array, affine = image.array, image.affine
    rotated = {degrees: dicom_files.rotated(array, affine, degrees) for degrees in (5, 10, 20)}
    return {
        "as it is": (array, affine),
        "axes exchanged and flipped": dicom_files.permuted(array, affine, True, False, True),
        "pixels 1.25 : 1": dicom_files.stretched(array, affine, 1.25),
        **{f"rotated by {degrees} degrees": version for degrees, version in rotated.items()},
        "rotated by 10 degrees, stretched, exchanged": dicom_files.permuted(
            *dicom_files.stretched(*rotated[10], 1.25), True, True, False
        ),
        "rotated by 10 degrees and back": (dicom_files.rotated(*rotated[10], -10)[0], affine),
    }


def looked_up(labels: np.ndarray, affine: np.ndarray, grid: Volume) -> np.ndarray:
    """Labels (z, y, x) at the nearest voxels to those of another grid."""
    z, y, x = np.indices(grid.array.shape).reshape(3, -1)
    there = np.linalg.inv(affine) @ grid.affine @ np.stack((x, y, z, np.ones_like(x)))
    return scipy.ndimage.map_coordinates(labels, np.rint(there[2::-1]), order=0).reshape(grid.array.shape)


def main(results: str, *seeds: str) -> None:
    """Print the agreement for phantoms drawn of each seed."""
    model, device = trained_model.load(results), torch.device("cpu")
    for seed in map(int, seeds or ("1",)):
        with tempfile.TemporaryDirectory() as folder:
            heart.write_patient(Path(folder), PATIENT, seed)
            image = volumes.read_image(heart.release_files(Path(folder), PATIENT)["LGE"])
            expected = segmentation.segment(image, model, device).labels
            for number, (name, version) in enumerate(versions(image).items()):
                array, affine = dicom_files.right_handed(*version)
                stored = np.rint(np.clip(array, 0, None) / SLOPE).astype(np.uint16)
                dicom_files.write_series(Path(folder) / f"series{number}", stored, affine, slope=SLOPE)
                read = dicom.read_series(Path(folder) / f"series{number}").volume
                found = looked_up(segmentation.segment(read, model, device).labels, read.affine, image)
                dice = [metrics.dice(found == label, expected == label) for label in (1, 2, 3)]
                shown = "  ".join(f"{value:.3f}" for value in [*dice, np.mean(dice)])
                print(f"seed {seed}  {name:44}  {shown}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
