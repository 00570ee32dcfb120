"""Train MUNIT on drawn slices until SIGTERM: python translation_training.py DEVICE SIZE; prints its course as JSON."""

import json
import logging
import sys
import time

import numpy as np
import torch
from scipy import ndimage

import steps
from cardioseg.core import checkpoints, training_loop
from cardioseg.translation import munit_training

STATE = steps.ROOT / "build" / "benchmark"
SLICES = 200
# Brightness of the surroundings, the blood, the wall and the lung beside it.
LOOKS = {"source": (-0.2, 0.7, -0.4, -0.9), "target": (-0.3, 0.3, -0.8, -0.7)}


def main() -> None:
    """Train, and print the iterations and seconds of each call, and the losses."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device, size = torch.device(sys.argv[1]), sys.argv[2]
    config = steps.configuration(size)
    settings, side = config["translation"] | {"method": "munit"}, config["cropping"]["size"]
    source, target = (slices(look, side, seed) for seed, look in enumerate(LOOKS.values()))
    folder = STATE / f"{device.type}-{size}"
    run = training_loop.Run("translation", 1, device, folder, training_loop.fingerprint(settings, [__file__]))
    journal = folder / "calls.json"
    calls = json.loads(journal.read_text(encoding="utf-8")) if (folder / "state.pt").exists() else []
    began = time.monotonic()
    try:
        _, history = munit_training.train([source], [target], settings, run)
        done = settings["iterations"]
    except training_loop.Preempted:
        state = checkpoints.load(folder / "state.pt")
        done, history = state["done"], state["history"]
        if state["since"]:
            means = {name: float(total) / state["since"] for name, total in state["sums"].items()}
            history = [*history, {"iteration": done, **means}]
    first = calls[-1]["last"] if calls else 0
    seconds = time.monotonic() - began
    calls.append({"first": first, "last": done, "seconds": seconds, "iterations_per_second": (done - first) / seconds})
    journal.write_text(json.dumps(calls), encoding="utf-8")
    json.dump({"size": size, "precision": settings["precision"], "calls": calls, "history": history}, sys.stdout)


def slices(look: tuple[float, ...], side: int, seed: int) -> np.ndarray:
    """Rings of blood and wall beside a lung, in noise: (n, y, x) in [-1, 1]."""
    draws = np.random.default_rng(seed)
    surroundings, blood, wall, lung = look
    y, x = np.indices((side, side)) / side - 0.5
    images = []
    for _ in range(SLICES):
        centre, radius, thickness = draws.uniform(-0.1, 0.1, 2), draws.uniform(0.1, 0.2), draws.uniform(0.04, 0.08)
        distance = np.hypot(y - centre[0], (x - centre[1]) * draws.uniform(0.8, 1.25))
        image = np.where(x + 0.3 * y > draws.uniform(0.2, 0.3), lung, surroundings)
        image = np.where(distance < radius + thickness, wall, image)
        image = np.where(distance < radius, blood, image)
        texture = ndimage.gaussian_filter(draws.standard_normal((side, side)), 4) * 0.8
        images.append(ndimage.gaussian_filter(image + texture, 0.7) + draws.normal(0, 0.04, (side, side)))
    return np.clip(np.stack(images), -1, 1).astype(np.float32)


if __name__ == "__main__":
    main()
