"""Made-up clinical quantities of manual masks and of two methods."""

import numpy as np
import pandas as pd

from cardioseg.evaluation import clinical


def quantities(seeds=(1, 2), patients=5, split="test"):
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(patients):
        volume = rng.uniform(80, 160)
        for method, members in {"manual": [None], "unet": seeds, "ensemble_pp": [None]}.items():
            for seed in members:
                error = 0 if method == "manual" else rng.normal(-8, 4)
                rows.append(
                    (split, str(patient), method, seed, volume + error, 1.05 * (volume + error), 9 + error / 10)
                )
    columns = [*clinical.MASK, "MYO_volume_ml", "MYO_mass_g", "MYO_thickness_mm"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})
