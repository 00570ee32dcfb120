"""Take end-diastole out of the 4-D images of M&Ms: python demo/end_diastole.py DATA FOLDER.

For each DATA/**/NAME_sa.nii.gz with labels NAME_sa_gt.nii.gz it writes the labelled frame with the largest left
ventricle to FOLDER, as NAME_sa_ed.nii.gz and NAME_sa_ed_gt.nii.gz, for demo/mnms.yaml. Empty labels are passed over;
what cannot be used is named at the end (exit status 1).
"""

import argparse
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

LEFT_VENTRICLE = 1
# nibabel's errors for a file that is no image, is damaged, or is shorter than its header says.
UNREADABLE = (nib.filebasedimages.ImageFileError, OSError, EOFError, zlib.error)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path)
parser.add_argument("folder", type=Path)
options = parser.parse_args()
options.folder.mkdir(parents=True, exist_ok=True)
faults = []
for labels_file in sorted(options.data.rglob("*_sa_gt.nii.gz")):
    name = labels_file.name.removesuffix("_gt.nii.gz")
    image_file = labels_file.with_name(f"{name}.nii.gz")
    if not image_file.is_file():
        faults.append(f"{image_file}: is missing; expected the image of {labels_file.name}.")
        continue
    try:
        image, labels = nib.load(image_file), nib.load(labels_file)
        if labels.ndim != 4 or image.shape != labels.shape:
            faults.append(f"{image_file}: shape {image.shape}, labels {labels.shape}; expected the same 4-D one.")
            continue
        sizes = (np.asarray(labels.dataobj) == LEFT_VENTRICLE).sum(axis=(0, 1, 2))
        if not sizes.any():
            print(f"{name}: no labels")
            continue
        frame = int(sizes.argmax())
        found = image.slicer[..., frame], labels.slicer[..., frame]
    except UNREADABLE as error:
        faults.append(f"{image_file}: it or its labels cannot be read ({error}). Download them again.")
        continue
    nib.save(found[0], options.folder / f"{name}_ed.nii.gz")
    nib.save(found[1], options.folder / f"{name}_ed_gt.nii.gz")
    print(f"{name}: frame {frame} of {image.shape[3]}")
sys.exit("\n".join(faults) or 0)
