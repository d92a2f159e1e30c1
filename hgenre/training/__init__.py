"""Training: configuration, random slices, augmentation, the loop over one net."""
