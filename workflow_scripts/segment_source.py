from cardioseg.core import volumes
from cardioseg.inference import fusion, postprocessing, views
from cardioseg.segmentation import cascade
from support.computing import compute
from support.job import job

with job(snakemake):
    structures = snakemake.params.structures
    device = compute(snakemake, "prediction")
    raw, crop = volumes.read_image(snakemake.input.raw), volumes.read(snakemake.input.image)
    prediction = snakemake.params.prediction
    networks = [cascade.load_first(prediction, 1 + len(structures), path) for path in snakemake.input.networks]
    members = [views.predict(network, crop.array, device, prediction["views"]) for network in networks]
    settings = postprocessing.Settings.of(snakemake.params.postprocessing, list(structures))
    labels = fusion.predicted_labels(members, crop, raw, settings)
    volumes.write_labels_like(snakemake.output[0], labels, structures, snakemake.input.raw)
