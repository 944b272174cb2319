"""The result type that every detector returns and every output takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.frame import Frame


class StageMs(NamedTuple):
    """Milliseconds spent on one image, by stage."""

    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0


_NOT_TIMED = StageMs()


@dataclass(slots=True)
class Detections:
    """The objects found in one image: equal-length arrays, best score first.

    Attributes:
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2`` in pixels of the image as given, clipped to it.
        scores: ``(n,)`` float32, 0..1.
        class_ids: ``(n,)`` int32, index into the model card's labels.
        ms: Time per stage.

    Example:
        >>> import numpy as np
        >>> found = Detections(np.float32([[1, 2, 30, 40]]), np.float32([0.9]), np.int32([16]))
        >>> len(found)
        1
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]
    ms: StageMs = _NOT_TIMED

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Detections:
        """No objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def to_dict(self, frame: Frame, labels: tuple[str, ...]) -> dict[str, Any]:
        """The JSON object of one image: see "JSON" in ``docs/commands.md``."""
        found = zip(self.class_ids.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        return {
            "source": frame.source,
            "frame": frame.index,
            "width": frame.width,
            "height": frame.height,
            "detections": [
                {
                    "label": labels[class_id],
                    "class_id": class_id,
                    "score": round(score, 4),
                    "box": [round(value, 2) for value in box],
                }
                for class_id, score, box in found
            ],
            "ms": {name: round(value, 3) for name, value in self.ms._asdict().items()},
        }
