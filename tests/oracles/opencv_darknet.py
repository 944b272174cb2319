"""Outputs of OpenCV 4.12's own Darknet reader; run by the oracle environment's Python, not by ours.

Usage: opencv_darknet.py CFG WEIGHTS INPUT.npy OUT.npz
INPUT is float32 ``(1, 3, height, width)``. OUT holds ``head_0``, ``head_1``, ... as ``(height, width, channels)``: the
raw tensors that enter the YOLO layers, or the last layer's output where there is no YOLO layer.
"""

import sys

import cv2
import numpy as np


def main(cfg: str, weights: str, source: str, target: str) -> None:
    net = cv2.dnn.readNetFromDarknet(cfg, weights)
    # Fusion would be faster but folds layers away whose outputs are wanted here.
    net.enableFusion(False)
    net.enableWinograd(False)
    net.setInput(np.load(source))
    names = net.getLayerNames()
    # The reader puts "permute_N" between a head convolution and its YOLO layer, which gives NHWC order.
    heads = [names[i - 1] for i, name in enumerate(names) if name.startswith("yolo_")]
    if not all(name.startswith("permute_") for name in heads):
        raise SystemExit(f"unexpected layers before the YOLO layers: {heads}")
    outputs = net.forward(heads) if heads else [net.forward(names[-1]).transpose(0, 2, 3, 1)]
    np.savez(target, **{f"head_{index}": np.asarray(output)[0] for index, output in enumerate(outputs)})


if __name__ == "__main__":
    main(*sys.argv[1:])
