"""Pruning the networks of ``keras.applications``, with random weights and at 32 x 32."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.convert.prune_nets import check, randomised

# What a layer's channels must stay for, but for being the network's output.
KEPT = {"EfficientNetB0": {"normalization"}}


@pytest.mark.parametrize(
    "name",
    [
        *("MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50", "ResNet50V2"),
        *("DenseNet121", "EfficientNetB0", "NASNetMobile"),
    ],
)
def test_application(name: str) -> None:
    make = getattr(keras.applications, name)
    model = randomised(make(weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None))
    graph, keep, pruned = check(model)
    last = "logits" if name == "MobileNetV3Small" else "conv_preds" if name == "MobileNet" else "predictions"
    assert set(graph.kept_layers()) == {last} | KEPT.get(name, set())
    # 40 % of the channels at both ends of a kernel leave about 36 % of its weights.
    assert pruned.count_params() < 0.5 * model.count_params()
    for layer in pruned.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            stays = keep[graph.makes[layer.name]]
            whole = model.get_layer(layer.name).moving_variance
            np.testing.assert_array_equal(layer.moving_variance, np.asarray(whole)[stays])
