import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cardioseg.cohort import orientation
from cardioseg.core import volumes
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.preprocessing import cropping, localisation, resampling
from support.computing import compute
from support.job import naming
from support.patients import each_patient

MOST_LEFT_OUT = 0.02  # of the labelled voxels


def crop(snakemake: Any) -> None:
    given, made, params = snakemake.input, snakemake.output, snakemake.params
    localiser = localisation.load(params.localisation, params.classes, given.weights)
    device = compute(snakemake, "prediction")
    likeness = partial(localisation.likeness, localiser=localiser, settings=params.localisation, device=device)
    nothing = [None] * len(given.raw)
    for path, choices, labels, resampled_path, location_path, image_path, labels_path in zip(
        given.raw,
        params.turns,
        given.get("labels", nothing),
        made.resampled,
        made.locations,
        made.images,
        made.get("labels", nothing),
        strict=True,
    ):
        raw, turn = volumes.read_image(path), Turn(*choices)
        for note in raw.notes:
            logging.warning("%s: %s", path, note)
        if turn != AS_STORED:
            logging.info("%s: %s", path, turn)
        with naming(path):
            volume = volumes.as_stored(resampling.to_common_pixels(turn.apply(raw), params.resampling))
            location, cropped = localisation.crop_heart(volume, localiser, params.localisation, params.cropping, device)
        better = orientation.overruled(AS_STORED, volume, likeness)
        doubts = [f"the localiser knows a heart in it much better when it is {better}"] if better else []
        if labels:
            drawn, grid = volumes.read_labels(labels, params.codes, raw), volumes.as_stored(cropped)
            volumes.write(labels_path, resampling.labels_on_grid(drawn, grid, params.classes), grid.affine)
            if (share := cropping.left_out(drawn, grid)) > MOST_LEFT_OUT:
                doubts.append(f"the crop leaves out {share:.0%} of its labelled voxels")
        for doubt in doubts:
            logging.warning("%s: %s", path, doubt)
        if not location.found:
            logging.warning("%s: the localiser finds no heart; the crop is centred on the image", path)
        volumes.write(resampled_path, volume.array, volume.affine)
        Path(location_path).write_text(json.dumps(asdict(location) | {"doubt": "; ".join(doubts)}), "utf-8")
        volumes.write(image_path, cropped.array, cropped.affine)


each_patient(snakemake, crop)
