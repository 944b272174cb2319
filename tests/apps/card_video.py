"""A video of one card that slides to and fro, and where it is in each frame."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from runtime.scenes.deck import LABELS, SUITS, card_face
from runtime.scenes.layout import Item, camera, placed
from runtime.scenes.paint import paint
from runtime.scenes.sheet import HEIGHT, WIDTH
from runtime.scenes.table import table

SIZE = (640, 480)
FRAMES, FPS, REACH = 120, 20, 190
RANK = "ace"


def offset(frame: int) -> float:
    """Pixels from the picture's middle to the card's, to the right; the last frame goes over into the first."""
    return -REACH * math.cos(2 * math.pi * frame / FRAMES)


def write_video(path: Path) -> None:
    """One turn, six seconds."""
    width, height = SIZE
    zoom = 0.34 * math.sqrt(width * height / (WIDTH * HEIGHT))
    view, face = camera(width, height, 0, 0, 0, zoom), card_face(0, RANK, SUITS[0])
    ground = table(np.random.default_rng(5), width, height, tidy=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE)
    for frame in range(FRAMES):
        picture = ground.copy()
        place = view @ placed(face, (offset(frame) / zoom, 0.0), 1.0, 10.0)
        paint(picture, [Item(face, place, LABELS.index(RANK), 5.0)], (0.3, 0.2), 0.4)
        writer.write(picture)
    writer.release()
