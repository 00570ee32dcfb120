"""The baseline without networks: a patient's own source labels, registered to the target image."""
