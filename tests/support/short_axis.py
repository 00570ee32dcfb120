"""A short-axis stack that is oblique to all of the body's axes."""

import numpy as np

from cardioseg.core.volumes import Volume

# As such stacks are often stored; spacing 1.5, 1.25 and 8 mm.
FRAME = np.array([[-0.67, -0.43, 0.6, 0], [-0.72, 0.2, -0.65, 0], [-0.17, 0.88, 0.45, 0], [0, 0, 0, 1]])
AFFINE = FRAME @ np.diag([1.5, 1.25, 8, 1])


def image(shape=(2, 5, 7), affine=AFFINE):
    return Volume(np.random.default_rng(0).uniform(size=shape), affine, ("odd",))


def rotated(affine, degrees, axis):
    angle = np.radians(degrees)
    axis = np.array(axis) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    rotation = np.eye(4)
    rotation[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation @ affine
