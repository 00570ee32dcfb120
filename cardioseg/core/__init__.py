"""What every stage needs: files, volumes, seeds, the configuration and the loop of a training."""
