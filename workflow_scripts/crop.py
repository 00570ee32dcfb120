import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path

from cardioseg.cohort import orientation
from cardioseg.core import volumes
from cardioseg.preprocessing import localisation
from support.computing import compute
from support.job import job, naming

with job(snakemake):
    settings = snakemake.params.localisation
    localiser = localisation.load(settings, snakemake.params.classes, snakemake.input.weights)
    device = compute(snakemake, "prediction")
    volume = volumes.read(snakemake.input.image)
    with naming(snakemake.input.image):
        location, cropped = localisation.crop_heart(volume, localiser, settings, snakemake.params.cropping, device)
    likeness = partial(localisation.likeness, localiser=localiser, settings=settings, device=device)
    better = orientation.overruled(orientation.AS_STORED, volume, likeness)
    doubt = f"the localiser knows a heart in it much better when it is {better}" if better else ""
    if doubt:
        logging.warning("%s: %s", snakemake.input.image, doubt)
    if not location.found:
        logging.warning("%s: no structures found; the crop is centred on the image", snakemake.input.image)
    Path(snakemake.output.location).write_text(json.dumps(asdict(location) | {"doubt": doubt}), "utf-8")
    volumes.write(snakemake.output.image, cropped.array, cropped.affine)
