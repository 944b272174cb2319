"""Keeping TensorFlow's start-up messages off a user's terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences native and Python chatter on stdout and stderr inside the block; exceptions pass."""
    from runtime.provider import quiet_native_log

    with (
        quiet_native_log(),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def import_keras() -> None:
    """Imports Keras and TensorFlow without their messages. Call before anything else imports them."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet():
        import keras  # noqa: F401
        import tensorflow as tf

        # The first look for accelerators complains where there are none; let it do so here.
        tf.config.list_physical_devices()
