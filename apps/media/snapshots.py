"""Single pictures."""

from __future__ import annotations

import errno

import cv2
import numpy as np
import numpy.typing as npt

from apps.media.film import taken_at
from apps.media.store import MediaStore
from apps.moment import Moment
from runtime.draw import annotate
from runtime.errors import InputError

_QUALITY = 92


def save_snapshot(store: MediaStore, moment: Moment) -> str:
    """Stores a moment with its boxes as JPEG.

    Returns:
        Its name among the media.

    Raises:
        InputError: There is no room for it.
    """
    picture = annotate(moment.frame, moment.found, moment.labels)
    try:
        return save_picture(store, picture, taken_at(moment.frame))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        action = "free disk space" if error.errno == errno.ENOSPC else "check the folder of media"
        raise InputError(f"the snapshot could not be stored ({reason})", "", action) from None


def save_picture(store: MediaStore, picture: npt.NDArray[np.uint8], when: float, event: int | None = None) -> str:
    """Stores a picture, ``(h, w, 3)`` uint8, blue, green, red; with an event it is the thumbnail of that one's clip.

    Raises:
        OSError: There is no room for it.
    """
    data = encode(picture, _QUALITY)
    scratch = store.begin("snapshot" if event is None else "clip", when, ".jpg", event)
    try:
        scratch.write_bytes(data)
    except OSError:
        store.discard(scratch)
        raise
    return store.commit(scratch).name


def encode(picture: npt.NDArray[np.uint8], quality: int) -> bytes:
    """The picture as JPEG."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
