from cardioseg.core import volumes
from cardioseg.core.randomness import derive
from cardioseg.translation.translators import TRANSLATORS
from support.computing import compute
from support.job import job

with job(snakemake):
    settings = snakemake.params.settings
    translator = TRANSLATORS[settings["method"]]
    network = translator.load(settings, snakemake.input.network)
    device = compute(snakemake, "prediction")
    seed = derive(snakemake.params.seed, "member", int(snakemake.wildcards.seed))
    outputs = iter(snakemake.output)
    for patient, path in zip(snakemake.params.patients, snakemake.input.images, strict=True):
        source = volumes.read(path)
        styles = translator.sample_styles(network, seed, patient, snakemake.params.samples)
        for rendered in translator.synthesise(network, source.array, styles, device):
            volumes.write(next(outputs), rendered, source.affine)
