"""Samples to train and measure on: data-set readers, augmentation, corruptions and the built-in synthetic city."""
