"""A digital cardiac phantom: short-axis bSSFP, LGE and T2 volumes with labels, in the layout of MS-CMRSeg 2019.

A patient is drawn as a 3-D anatomy in closed form (`anatomy`). One slice of it is the fraction of every tissue in every
pixel (`slices`), every tissue has a signal by the equation of the sequence (`signals`), and a scanner images the signal
through coil shading, a finite k-space and complex noise (`scanner`). Each examination finds the heart in another phase,
breath-hold and pose. `draw_patient` does all this for each modality, `write_patient` puts it on disk.

Arrays are (z, y, x). The numbers were calibrated to the intensities and volumes of real MS-CMRSeg data, and to how well
registration carries labels from one examination of a patient to the other there; the intensities of T2 are those of its
signal equation.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.phantoms.anatomy import contracted, draw_anatomy, oedematous
from cardioseg.phantoms.scanner import (
    MODALITIES,
    Drawn,
    Modality,
    acquire,
    draw_acquisition,
    draw_frame,
    draw_motion,
)

LAST_TRAINING_PATIENT = 35
LAST_VALIDATION_PATIENT = 5


def draw_patient(
    patient: int, seed: int, matrix_scale: float = 1.0, modalities: Iterable[Modality] = MODALITIES
) -> dict[Modality, Drawn]:
    """Draw a patient and image it. The same seed, patient and matrix scale give the same images in every modality.

    Cine bSSFP is read at end-diastole. The others are triggered somewhere in diastole and find the heart turned.

    Parameters
    ----------
    patient : int
        Number of the patient.
    seed : int
        Seed of the cohort.
    matrix_scale : float
        A factor from 0.1 to 2, see `scanner.draw_acquisition`.
    modalities : iterable of {'bSSFP', 'LGE', 'T2'}
        The modalities wanted.

    Returns
    -------
    dict of str to Drawn
        The images by modality.

    Raises
    ------
    InputError
        `matrix_scale` is out of range.
    """
    anatomy = draw_anatomy(np.random.default_rng((seed, patient, 0)))
    frame = draw_frame(np.random.default_rng((seed, patient, 1)))
    drawn: dict[Modality, Drawn] = {}
    for modality in modalities:
        rng = np.random.default_rng((seed, patient, 2 + MODALITIES.index(modality)))
        seen, motion = anatomy, np.eye(4)
        if modality != "bSSFP":
            share = float(np.clip(abs(rng.normal(0, 0.55)), 0, 0.9))
            seen = contracted(anatomy, share, rv_filling=float(np.clip(rng.normal(1, 0.12), 0.7, 1.3)))
            motion = draw_motion(rng, seen)
        if modality == "T2":
            seen = oedematous(seen)
        acquisition = draw_acquisition(rng, modality, seen, matrix_scale)
        drawn[modality] = acquire(rng, seen, acquisition, frame @ motion)
    return drawn


def release_files(folder: Path, patient: int) -> dict[str, Path]:
    """Return where the files of a patient lie in the layout of the release.

    Parameters
    ----------
    folder : Path
        The folder of the release.
    patient : int
        Number of the patient, from 1.

    Returns
    -------
    dict of str to Path
        Images by modality, and labels as "bSSFP_labels" and so on. Patients after 35 have no "bSSFP_labels" and no
        "T2_labels". The LGE labels of patients after 5 are the challenge's test set and lie in a folder of their own.
        Beside the LGE labels lie "LGE_scar" and "LGE_segments", which the release lacks.

    Raises
    ------
    InputError
        `patient` is below 1.
    """
    if patient < 1:
        raise InputError(f"there is no patient {patient} in MS-CMRSeg: its patients are numbered from 1")
    training = Path(folder) / "C0LET2_nii45_for_challenge19"
    images = training / "c0t2lge"
    files = {
        "bSSFP": images / f"patient{patient}_C0.nii.gz",
        "LGE": images / f"patient{patient}_LGE.nii.gz",
        "T2": images / f"patient{patient}_T2.nii.gz",
    }
    if patient <= LAST_TRAINING_PATIENT:
        files["bSSFP_labels"] = training / "c0gt" / f"patient{patient}_C0_manual.nii.gz"
        files["T2_labels"] = training / "t2gt" / f"patient{patient}_T2_manual.nii.gz"
    if patient <= LAST_VALIDATION_PATIENT:
        lge_labels = training / "lgegt"
    else:
        lge_labels = Path(folder) / "C0LET2_gt_for_challenge19" / "LGE_manual_35_TestData"
    files["LGE_labels"] = lge_labels / f"patient{patient}_LGE_manual.nii.gz"
    files["LGE_scar"] = lge_labels / f"patient{patient}_LGE_scar.nii.gz"
    files["LGE_segments"] = lge_labels / f"patient{patient}_LGE_segments.nii.gz"
    return files


def write_patient(
    folder: Path, patient: int, seed: int, matrix_scale: float = 1.0, modalities: Iterable[Modality] = MODALITIES
) -> None:
    """Draw one patient and write its files in the layout of the release. The same arguments give the same bytes.

    Parameters
    ----------
    folder : Path
        The folder of the release.
    patient, seed : int
        As in `draw_patient`.
    matrix_scale : float
        As in `draw_patient`.
    modalities : iterable of {'bSSFP', 'LGE', 'T2'}
        As in `draw_patient`.

    Raises
    ------
    InputError
        `patient` is below 1, or `matrix_scale` is out of range.
    """
    files = release_files(folder, patient)
    for modality, volume in draw_patient(patient, seed, matrix_scale, modalities).items():
        volumes.write(files[modality], volume.image, volume.affine)
        known = {"labels": volume.labels, "scar": volume.scar, "segments": volume.segments}
        for name, array in known.items():
            if f"{modality}_{name}" in files:
                volumes.write(files[f"{modality}_{name}"], array, volume.affine)
