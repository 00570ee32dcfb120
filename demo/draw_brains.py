"""Draw a cohort for demo/brain.yaml: python demo/draw_brains.py FOLDER."""

import argparse
from pathlib import Path

from cardioseg.phantoms import brain

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path)
parser.add_argument("--subjects", type=int, default=19)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
for subject in range(1, 1 + options.subjects):
    brain.write(options.folder, subject, options.seed)
