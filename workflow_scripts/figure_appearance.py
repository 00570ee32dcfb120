import numpy as np

from cardioseg.core import volumes
from cardioseg.figures import appearance, style
from cardioseg.preprocessing import resampling
from support.job import job

with job(snakemake):
    given, structures = snakemake.input, snakemake.params.structures
    source, target = snakemake.params.source, snakemake.params.target
    samples = len(given.synthetic) // len(given.source)

    def target_labels(index: int) -> np.ndarray:
        """Labels of the evaluated patients, on the grid of the crop."""
        truth = volumes.read_labels(given.target_labels[index], structures, volumes.read_image(given.target_raw[index]))
        return resampling.labels_on_grid(truth, volumes.read(given.target[index]), 1 + len(structures))

    with_labels = {
        source: zip(given.source, given.source_labels, strict=True),
        f"synthetic {target}": (
            (path, given.source_labels[index // samples]) for index, path in enumerate(given.synthetic)
        ),
    }
    distributions = {
        kind: appearance.densities(
            ((volumes.read(image).array, volumes.read(labels).array) for image, labels in pairs), len(structures)
        )
        for kind, pairs in with_labels.items()
    }
    labelled = given.get("target_labels", [])
    if labelled:
        distributions[target] = appearance.densities(
            ((volumes.read(given.target[index]).array, target_labels(index)) for index in range(len(labelled))),
            len(structures),
        )
    first, second = snakemake.params.examples
    labels = volumes.read(given.source_labels[first]).array
    examples = {
        source: (volumes.read(given.source[first]), labels),
        f"synthetic {target}": (volumes.read(given.synthetic[first * samples]), labels),
        target: (volumes.read(given.target[second]), target_labels(second) if labelled else None),
    }
    style.save(appearance.figure(examples, distributions, list(structures)), snakemake.output)
