"""The cascaded segmentation networks and their training (paper 2.2)."""
