import json
from pathlib import Path

from cardioseg import cropping, volumes
from job import job, naming

with job(snakemake):
    volume = volumes.read(snakemake.input.image)
    location = json.loads(Path(snakemake.input.location).read_text())
    with naming(snakemake.input.image):
        cropped = cropping.crop(volume, tuple(location["centre"]), snakemake.params.settings)
    volumes.write(snakemake.output[0], cropped.array, cropped.affine)
