from cardioseg.core import volumes
from cardioseg.figures import style
from cardioseg.figures import uncertainty as figures
from cardioseg.inference.uncertainty import MAPS
from cardioseg.preprocessing import resampling
from support.job import job

with job(snakemake):
    given, structures, params = snakemake.input, snakemake.params.structures, snakemake.params
    patients = {}
    for index, patient in enumerate(params.patients):
        image = volumes.read(given.images[index])
        labels = {}
        if given.get("labels"):
            labels["manual"] = resampling.read_labels_on_grid(
                given.labels[index], given.raw[index], image, params.codes
            )
        labels[params.title] = volumes.read(given.probabilities[index]).array.argmax(axis=0)
        maps = dict(zip(MAPS, volumes.read(given.maps[index]).array, strict=True))
        # One member alone disagrees with nobody.
        patients[patient] = (image, labels, dict(list(maps.items())[: params.members]))
    figure = figures.figure(patients, f"relative to log({1 + len(structures)})", list(structures))
    style.save(figure, snakemake.output)
