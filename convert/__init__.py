"""The workstation side: import, prune, quantise, evaluate. Needs TensorFlow; the device does not."""
