"""One program that detects in a picture in memory, as ``compare_frameworks.py`` starts it in its own environment.

Usage: python frame_worker.py KIND MODEL PICTURE.npy [WEIGHTS]

It answers every line on standard input with the seconds of one frame: blue-green-red pixels in memory to a list of
boxes, one thread. Each kind is written as its own documentation does it, and imports nothing but that framework.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[], Any]
_WARM_UP = 15


def bare(model: str, frame: Any) -> Run:
    """The network alone."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    return lambda: interpreter.invoke()


def edgewren(model: str, frame: Any) -> Run:
    """This project."""
    import cv2

    from runtime import Detector

    cv2.setNumThreads(1)
    detector = Detector.open(model, threads=1)
    return lambda: detector.detect(frame)


def mediapipe(model: str, frame: Any) -> Run:
    """MediaPipe Tasks; it takes red-green-blue pictures and has no thread option."""
    import cv2
    import mediapipe as mp

    tasks = mp.tasks
    options = tasks.vision.ObjectDetectorOptions(
        base_options=tasks.BaseOptions(model_asset_path=model), score_threshold=0.25, max_results=10
    )
    detector = tasks.vision.ObjectDetector.create_from_options(options)

    def run() -> Any:
        rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        return detector.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)).detections

    return run


def ultralytics(model: str, frame: Any) -> Run:
    """Ultralytics' predictor."""
    import torch
    from ultralytics import YOLO

    torch.set_num_threads(1)
    network = YOLO(model, task="detect")
    return lambda: network.predict(frame, imgsz=640, verbose=False, conf=0.25)[0].boxes


def opencv_forward(model: str, frame: Any, weights: str) -> Run:
    """OpenCV's network alone, float."""
    import cv2

    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromDarknet(model, weights)
    network.setInput(cv2.dnn.blobFromImage(frame, 1 / 255, (320, 320), swapRB=True))
    names = network.getUnconnectedOutLayersNames()
    return lambda: network.forward(names)


def opencv(model: str, frame: Any, weights: str) -> Run:
    """OpenCV's ``DetectionModel``."""
    import cv2

    cv2.setNumThreads(1)
    detector = cv2.dnn.DetectionModel(cv2.dnn.readNetFromDarknet(model, weights))
    detector.setInputParams(1 / 255, (320, 320), swapRB=True)
    return lambda: detector.detect(frame, 0.25, 0.45)


KINDS: dict[str, Callable[..., Run]] = {
    function.__name__: function for function in (bare, edgewren, mediapipe, ultralytics, opencv, opencv_forward)
}


def main() -> None:
    """Warms up, says so, and answers until standard input ends."""
    kind, model, picture, *more = sys.argv[1:]
    run = KINDS[kind](model, np.load(picture), *more)
    for _ in range(_WARM_UP):
        found = run()
    print("ready", len(found) if hasattr(found, "__len__") else 0, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
