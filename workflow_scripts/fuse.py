from cardioseg.core import volumes
from cardioseg.inference import fusion, postprocessing
from support.job import job

with job(snakemake):
    given, params, structures = snakemake.input, snakemake.params, snakemake.params.structures
    probabilities, raw = volumes.read(given.probabilities), volumes.read_image(given.raw)
    witness = volumes.read_labels(given.labels, structures, raw)
    fused = volumes.Volume(fusion.fuse(probabilities, witness, params.fusion), probabilities.affine)
    volumes.write(snakemake.output.probabilities, fused.array, fused.affine)
    settings = postprocessing.Settings.of(params.postprocessing, list(structures))
    labels = postprocessing.postprocess(fused, volumes.read(given.image), raw, settings, ["both"])["both"]
    volumes.write_labels_like(snakemake.output.mask, labels, structures, given.raw)
