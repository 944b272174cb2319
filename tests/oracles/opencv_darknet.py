"""Raw YOLO heads by OpenCV 4.12's own Darknet reader; run by the oracle environment's Python, not by ours.

Usage: opencv_darknet.py CFG WEIGHTS INPUT.npy OUT.npz
INPUT is float32 ``(1, 3, height, width)``; OUT holds ``head_0``, ``head_1``, ... as ``(height, width, channels)``.
"""

import sys

import cv2
import numpy as np


def main(cfg: str, weights: str, source: str, target: str) -> None:
    net = cv2.dnn.readNetFromDarknet(cfg, weights)
    # Fusion would be faster but folds layers away whose outputs are wanted here.
    net.enableFusion(False)
    net.enableWinograd(False)
    names = net.getLayerNames()
    heads = [names[i - 1] for i, name in enumerate(names) if name.startswith("yolo_")]
    # The reader puts "permute_N" between the head convolution and the region layer, which gives NHWC order.
    if not all(name.startswith("permute_") for name in heads):
        raise SystemExit(f"unexpected layers before the YOLO layers: {heads}")
    net.setInput(np.load(source))
    outputs = net.forward(heads)
    arrays = {}
    for index, output in enumerate(outputs):
        arrays[f"head_{index}"] = np.asarray(output)[0]
    np.savez(target, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
