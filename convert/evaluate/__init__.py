"""Measuring accuracy on the workstation, through the device's own preprocessing and decoding."""
