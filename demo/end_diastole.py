"""Take end-diastole out of the 4-D images of M&Ms: python demo/end_diastole.py DATA FOLDER.

For each DATA/**/NAME_sa.nii.gz with labels NAME_sa_gt.nii.gz it writes the labelled frame with the largest left
ventricle to FOLDER, as NAME_sa_ed.nii.gz and NAME_sa_ed_gt.nii.gz, for demo/mnms.yaml. Empty labels are passed over.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np

LEFT_VENTRICLE = 1

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path)
parser.add_argument("folder", type=Path)
options = parser.parse_args()
options.folder.mkdir(parents=True, exist_ok=True)
for labels_file in sorted(options.data.rglob("*_sa_gt.nii.gz")):
    name = labels_file.name.removesuffix("_gt.nii.gz")
    image, labels = nib.load(labels_file.with_name(f"{name}.nii.gz")), nib.load(labels_file)
    sizes = (np.asarray(labels.dataobj) == LEFT_VENTRICLE).sum(axis=(0, 1, 2))
    if not sizes.any():
        print(f"{name}: no labels")
        continue
    frame = int(sizes.argmax())
    nib.save(image.slicer[..., frame], options.folder / f"{name}_ed.nii.gz")
    nib.save(labels.slicer[..., frame], options.folder / f"{name}_ed_gt.nii.gz")
    print(f"{name}: frame {frame} of {image.shape[3]}")
