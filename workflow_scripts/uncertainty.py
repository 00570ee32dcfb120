from cardioseg.core import volumes
from cardioseg.inference import uncertainty
from support.job import job

with job(snakemake):
    members = [volumes.read(path) for path in snakemake.input]
    volumes.write(snakemake.output[0], uncertainty.maps([member.array for member in members]), members[0].affine)
