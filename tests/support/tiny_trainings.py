"""Settings and images of the smallest trainings."""

import numpy as np
from scipy import ndimage

NETWORK = {"network": "unet", "width": 4, "depth": 2, "dropout": 0.1}
SEGMENTATION = {
    "schedule": "constant",
    "contraction": None,
    "appearance": None,
    "batch_size": 4,
    "precision": "float32",
    "class_weights": [0.2, 0.3, 0.5],
    "edge_weight": 0.5,
    "augmentation": {
        "rotation_degrees": 10,
        "scale": 0.1,
        "log_gamma": 0.2,
        "elastic_pixels": 1,
        "elastic_spacing_pixels": 8,
        "shift_pixels": 1,
    },
}
TRANSLATION = {
    "iterations": 3,
    "batch_size": 2,
    "precision": "float32",
    "learning_rate": 1e-3,
    "betas": [0.5, 0.999],
    "weight_decay": 1e-4,
    "decay": 0.5,
    "decay_every": 2,
    "shared_start": False,
    "averaging": 0,
    "weights": {"adversarial": 1, "image": 10, "style": 1, "content": 1, "cycle": 10},
    "generator": {"width": 2, "downsamplings": 2, "residual_blocks": 1, "style_size": 3, "mlp_width": 4},
    "discriminator": {"width": 2, "layers": 2, "scales": 2},
}


def discs(count=6, size=16, seed=0):
    """A bright disc in a grey ring on dark noise, of random place and size: images and labels."""
    generator = np.random.default_rng(seed)
    y, x = np.ogrid[:size, :size]
    labels = np.zeros((count, size, size), np.uint8)
    for index in range(count):
        centre = generator.uniform(size / 2 - 2, size / 2 + 2, 2)
        distance = np.hypot(y - centre[0], x - centre[1])
        labels[index] = np.select([distance < 2.5, distance < 5], [1, 2], 0)
    images = np.choose(labels, [-0.8, 0.8, 0.0]) + 0.1 * ndimage.gaussian_filter(
        generator.standard_normal(labels.shape), 0.5
    )
    return images.astype(np.float32), labels


def noise(count, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 32, 32)).astype(np.float32)


SOURCE, TARGET = noise(5, 0), noise(4, 1)
