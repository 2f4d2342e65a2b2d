"""Training: recipe, data, loop, losses, checkpoints, pictures."""
