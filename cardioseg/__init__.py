"""Segmentation of late-gadolinium-enhanced cardiac MR by unsupervised multi-modal style transfer (Chen et al. 2019)."""
