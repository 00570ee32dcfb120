from itertools import zip_longest

from cardioseg.core import volumes
from cardioseg.figures import appearance, style
from cardioseg.preprocessing import resampling
from support.job import job

with job(snakemake):
    given, params, structures = snakemake.input, snakemake.params, snakemake.params.structures
    first, second = params.examples
    samples = len(given.synthetic) // len(given.source)
    source_labels = [volumes.read(path).array for path in given.source_labels]
    source = zip(map(volumes.read, given.source), source_labels, strict=True)
    synthetic_labels = (labels for labels in source_labels for _ in range(samples))
    synthetic = zip(map(volumes.read, given.synthetic), synthetic_labels, strict=True)
    target = (
        (crop, resampling.read_labels_on_grid(labels, raw, crop, params.codes) if labels else None)
        for path, labels, raw in zip_longest(given.target, given.target_labels, given.target_raw)
        for crop in [volumes.read(path)]
    )
    kinds = {
        params.source: appearance.describe(source, len(structures), first),
        f"synthetic {params.target}": appearance.describe(synthetic, len(structures), first * samples),
        params.target: appearance.describe(target, len(structures), second),
    }
    style.save(appearance.figure(kinds, list(structures)), snakemake.output)
