"""What a release is, and the answer it must give on the board."""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deploy.board.bundle import Manifest, sha256
from deploy.code import Code
from deploy.preflight import Facts
from deploy.settings import Settings
from deploy.unit import OFFERED, unit_text
from deploy.wheelhouse import ROOT, Tags, Wheelhouse

_SCENE_SEED, _SCENE_S = 12, 3.0
# Where a model finds nothing at its own threshold, its faint answers are compared.
_FAINT = 0.02
_ID = "{id}"


def project_version() -> str:
    """As ``pyproject.toml`` has it."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def make_manifest(settings: Settings, facts: Facts, wheels: Wheelhouse, code: Code, tags: Tags) -> Manifest:
    """The release for a board; the same inputs give the same id.

    Raises:
        InputError: The model is no detector or cannot be read.
    """
    unit = unit_text(_ID, settings.model.name, settings, facts.values["systemd"], _known_options())
    draft = Manifest(
        id="",
        version=project_version(),
        packages=wheels.hash,
        code=hashlib.sha256(f"{code.hash} {wheels.hash}".encode()).hexdigest()[:16],
        model=sha256(settings.model),
        model_name=settings.model.name,
        system_packages=tags.system_packages,
        port=settings.port,
        unit=unit,
        answer=known_answer(settings.model.resolve()),
    )
    digest = hashlib.sha256(json.dumps(asdict(draft), sort_keys=True).encode()).hexdigest()[:10]
    release = f"{draft.version}-{digest}"
    return replace(draft, id=release, unit=unit.replace(_ID, release))


@functools.cache
def picture(model: Path) -> bytes:
    """The known picture as PNG: a drawn scene with cards, always the same, of the size of a model's input.

    OpenCV resizes a little differently on other processors; what fits is not resized.
    """
    import cv2

    from runtime.modelfile import require_card
    from runtime.scenes import CardMotion

    size = require_card(model).input
    scene = CardMotion(_SCENE_SEED, 2 * size.width, 2 * size.height).at(_SCENE_S).pixels
    small = cv2.resize(scene, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".png", small)[1])


@functools.cache
def known_answer(model: Path) -> dict[str, Any]:
    """What the model finds in the picture on this machine: ``{"score", "detections"}``.

    Raises:
        InputError: It is no detector.
    """
    import cv2
    import numpy as np

    from runtime.detector import Detector
    from runtime.frame import Frame

    pixels = cv2.imdecode(np.frombuffer(picture(model), np.uint8), cv2.IMREAD_COLOR)
    frame = Frame(np.asarray(pixels, np.uint8), "bgr")
    with Detector.open(model, threads=1) as detector:
        found = detector.detect(frame)
        if not len(found):
            detector.score = _FAINT
            found = detector.detect(frame)
        detections = found.to_dict(frame, detector.labels)["detections"]
        return {"score": detector.score, "detections": detections}


def _known_options() -> frozenset[str]:
    from apps.options import parser

    text = parser().format_help()
    return frozenset(option for option in OFFERED if option in text)
