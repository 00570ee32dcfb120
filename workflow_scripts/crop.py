import json
import logging
from dataclasses import asdict
from pathlib import Path

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
    if not location.found:
        logging.warning("%s: no structures found; the crop is centred on the image", snakemake.input.image)
    Path(snakemake.output.location).write_text(json.dumps(asdict(location)))
    volumes.write(snakemake.output.image, cropped.array, cropped.affine)
