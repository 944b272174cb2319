"""Training detectors: data, augmentation, targets, loss, loop."""
