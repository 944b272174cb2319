"""Makes the tiny model ``runtime doctor`` runs: ``python -m convert.quantize.selftest``.

Random weights from a fixed seed; one op of each kind a detector is made of. The result is committed because the
device has nothing to make it with.
"""

from __future__ import annotations

import sys

import numpy as np

from convert.quiet import import_keras
from runtime.doctor import SELF_TEST_MODEL
from runtime.files import replacing


def main() -> int:
    """Builds, converts and writes the model."""
    import_keras()
    import keras

    from convert.quantize.heads import SplitModel
    from convert.quantize.tflite import to_tflite
    from runtime.card import OutputBinding

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), batch_size=1)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6")(image)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    y = keras.layers.LeakyReLU(negative_slope=0.1)(y)
    x = keras.layers.Add()([x, keras.layers.Conv2D(16, 1)(y)])
    x = keras.layers.Concatenate()([keras.layers.MaxPooling2D(2)(x), keras.layers.Conv2D(16, 2, strides=2)(x)])
    split = SplitModel(keras.Model(image, [keras.layers.Conv2D(8, 1)(x)]), (OutputBinding("output", "class", 0),))
    samples = np.random.default_rng(0).uniform(0, 1, (16, 32, 32, 3)).astype(np.float32)
    with replacing(SELF_TEST_MODEL) as scratch:
        scratch.write_bytes(to_tflite(split, "image", samples=samples))
    print(f"wrote {SELF_TEST_MODEL} ({SELF_TEST_MODEL.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
