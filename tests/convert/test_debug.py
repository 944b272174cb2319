"""The parts of an explanation: causes, the float twin, outputs, normalisations, bad usage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.cli import main as convert
from convert.data import Dataset, Truth
from convert.debug.causes import cause
from convert.debug.file import File
from convert.debug.model import Cause
from convert.debug.network import Network
from convert.debug.normalisation import alternatives, describe
from convert.debug.outputs import check_outputs
from convert.debug.pictures import Pictures
from convert.debug.statistics import Statistics, decibels, head_noise
from convert.debug.twin import Twin, short_names
from convert.evaluate.keras_executor import KerasExecutor
from convert.importers import load_source
from convert.quantize.fake_quant import round_to
from convert.quantize.heads import split_heads
from convert.quantize.ptq import quantise
from runtime.card import InputSpec, ModelCard
from runtime.decode.candidates import dequantize
from runtime.engine import Engine
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.modelfile import require_card
from runtime.preprocess import Preprocessor
from tests.conftest import picture

Rows = np.ndarray[Any, np.dtype[np.float64]]


def statistics(rows: Rows, span: tuple[float, float] | None = None, **more: Any) -> Statistics:
    """One tensor with these values, each picture's worth of them; the range is theirs unless it is given."""
    low, high = span or (min(0.0, float(rows.min())), float(rows.max()))
    own = np.square(round_to(rows, low, high) - rows)
    outside = (rows > high) | (rows < low)
    return Statistics(
        name="made",
        range=(low, high),
        low=rows.min(axis=0).astype(np.float32),
        high=rows.max(axis=0).astype(np.float32),
        rows=rows.astype(np.float32),
        power=np.square(rows).mean(axis=0),
        error=own.mean(axis=0),
        own=own.mean(axis=0),
        clipped=float(np.where(outside, own, 0).sum() / own.sum()),
        noise=1.0,
        **more,
    )


def gaussian(channels: int = 16, scale: Any = 1.0) -> Rows:
    return np.asarray(np.random.default_rng(0).normal(0, 1, (2000, channels)) * scale)


def one_wide(channels: int = 16, factor: float = 100) -> Rows:
    rows = gaussian(channels)
    rows[:, 5] *= factor
    return rows


def one_extreme() -> Rows:
    rows = gaussian()
    rows[7] = 60
    return rows


def uneven() -> Rows:
    """Each channel 1.5 times as wide as the one before: no single one stands out."""
    return gaussian(12, 1.5 ** np.arange(12))


CAUSES: list[tuple[str, Callable[[], Statistics], Cause, str]] = [
    ("even", lambda: statistics(gaussian()), "unknown", "values fill the range evenly"),
    ("wide", lambda: statistics(one_wide()), "outlier channel", "channel 5 is "),
    ("wide, cut off", lambda: statistics(one_wide(), (-4, 4)), "outlier channel", "channel 5 is "),
    ("not so wide", lambda: statistics(one_wide(factor=5)), "shared scale", "share a range"),
    ("extreme", lambda: statistics(one_extreme()), "dead range", "the range is "),
    ("far too wide", lambda: statistics(gaussian(), (-40, 40)), "dead range", "all but a thousandth"),
    ("cut off", lambda: statistics(gaussian(), (-0.3, 0.3)), "clipped range", "in a range of -0.3 to 0.3"),
    ("rare extremes cut off", lambda: statistics(gaussian(), (-3, 3)), "unknown", ""),
    ("uneven, small ones matter", lambda: statistics(uneven(), gain=1.5 ** -np.arange(12.0)), "shared scale", "wide"),
    ("uneven, large ones matter", lambda: statistics(uneven(), gain=1.5 ** np.arange(12.0)), "unknown", ""),
    ("uneven, not known", lambda: statistics(uneven(), shares_with=("b",)), "shared scale", "with b"),
    ("leaky", lambda: statistics(gaussian(), activation="leaky"), "activation", "leaky ReLU"),
    ("sigmoid", lambda: statistics(gaussian(), activation="sigmoid"), "activation", "sigmoid"),
    ("fixed", lambda: statistics(one_wide(), fixed=True), "unknown", ""),
]


@pytest.mark.parametrize(("make", "expected", "detail"), [row[1:] for row in CAUSES], ids=[row[0] for row in CAUSES])
def test_causes(make: Callable[[], Statistics], expected: Cause, detail: str) -> None:
    found, text = cause(make(), 0.5)
    assert found == expected
    assert detail in text


@pytest.mark.parametrize(
    ("share", "weights", "expected"),
    [(0.1, 0.5, "weights"), (0.1, 0.3, "unknown"), (0.001, 0.1, "weights"), (0.001, 0.01, "none")],
)
def test_weights_are_the_cause_where_they_outdo_their_tensor(share: float, weights: float, expected: str) -> None:
    found, text = cause(statistics(gaussian(), weights="heavy"), share, weights)
    assert found == expected
    assert (text == "heavy") == (expected == "weights")


def test_little_noise_has_no_cause() -> None:
    assert cause(statistics(gaussian(), activation="leaky"), 0.001) == ("none", "")
    # Unless the tensor itself is ruined.
    assert cause(statistics(gaussian(), (-0.3, 0.3)), 0.001)[0] == "clipped range"


@pytest.mark.parametrize(
    ("signal", "noise", "expected"), [(100, 1, 20), (1, 1, 0), (1, 0, 120), (0, 1, -120), (0, 0, 120), (1, 1e30, -120)]
)
def test_decibels(signal: float, noise: float, expected: float) -> None:
    assert decibels(signal, noise) == pytest.approx(expected)


def test_head_noise_is_relative_to_the_spread_of_each_output() -> None:
    exact = [np.array([[0.0, 2.0]], np.float32), np.array([[100.0, 300.0]], np.float32)]
    off = [exact[0] + np.float32(0.1), exact[1] + np.float32(10)]
    assert head_noise(off, exact) == pytest.approx(0.01, rel=1e-5)
    assert head_noise(exact, exact) == 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["split_1/conv_0_1/BiasAdd;split_1/conv_0_1/convolution;split_1/conv_0_1/Squeeze1"], ["conv_0"]),
        (["box_16", "a/b/Relu", "a/c/Relu"], ["box_16", "b", "c"]),
        (["a/x/norm/out", "a/y/norm/out"], ["x/norm", "y/norm"]),
        (["net/block_1/Relu6"], ["block_1"]),
        (["same", "same"], ["same #0", "same #1"]),
    ],
)
def test_short_names(names: list[str], expected: list[str]) -> None:
    assert short_names(names) == expected


def fed(card: ModelCard) -> np.ndarray[Any, np.dtype[np.float32]]:
    frames = tuple(Frame(picture(seed)) for seed in (20, 21))
    truths = tuple(Truth(Path("made.png"), np.zeros((0, 4), np.float32), np.zeros(0, np.int32)) for _ in frames)
    return Pictures(Dataset("made", truths, ()), frames).samples(card.input)


def test_twin_computes_what_file_and_float_network_do(tiny_cfg: Path, tiny_model: Path) -> None:
    card = require_card(tiny_model)
    samples, names = fed(card), [binding.name for binding in card.outputs]
    file = File(tiny_model, names, samples)
    source = load_source(tiny_cfg)
    split = split_heads(source)
    network = KerasExecutor(split, source.input)
    engine = Engine(tiny_model)
    order = [[spec.name for spec in engine.outputs].index(name) for name in names]
    rounded = file.heads()
    for at, seed in enumerate((20, 21)):
        for executor in (network, engine):
            Preprocessor(card.input, executor.inputs[0]).write(Frame(picture(seed)), executor.input_view())
            executor.invoke()
        for head, position in enumerate(order):
            wanted = network.output_view(head)[0]
            stored = dequantize(engine.output_view(position).copy(), engine.outputs[position])[0]
            # Weights are rounded, so the twin is near the float network; its rounded self is near the file.
            assert ratio(wanted, file.float_heads[head][at]) > 25
            assert ratio(stored, rounded[head][at]) > 25
            assert ratio(stored, rounded[head][at]) > ratio(wanted, rounded[head][at]) - 6


def ratio(signal: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return decibels(float(np.var(signal)), float(np.mean(np.square(signal - other))))


def test_twin_rounds_what_it_is_told_to(tiny_model: Path) -> None:
    card = require_card(tiny_model)
    file = File(tiny_model, [binding.name for binding in card.outputs], fed(card))
    twin = Twin(tiny_model.read_bytes())
    names = [point.name for point in twin.points]
    assert len(set(names)) == len(names)
    everything = file.restored(names)
    for mine, wanted in zip(everything, file.float_heads, strict=True):
        np.testing.assert_array_equal(mine, wanted)
    # An output's own rounding leaves numbers on the steps of its scale.
    box = next(point for point in twin.points if point.name == "box_16")
    alone = file.restored([name for name in names if name != "box_16"])
    at = [binding.name for binding in card.outputs].index("box_16")
    np.testing.assert_allclose(alone[at], round_to(file.float_heads[at], *box.range), atol=1e-5)
    assert np.abs(alone[at] - file.float_heads[at]).max() > 0


def test_network_restores_and_rounds_again(tiny_cfg: Path) -> None:
    source = load_source(tiny_cfg)
    split = split_heads(source)
    samples = np.random.default_rng(0).uniform(0, 1, (4, 64, 64, 3)).astype(np.float32)
    network = Network(quantise(split.model, (0.0, 1.0), samples), samples[:2])
    before = network.restored(())
    points = [one.name for one in network.measure()]
    for mine, wanted in zip(network.restored([*points, "image"]), network.float_heads, strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-4)
    for mine, again in zip(network.restored(()), before, strict=True):
        np.testing.assert_array_equal(mine, again)
    exact = split.model.predict_on_batch(samples[:2])
    for mine, wanted in zip(network.float_heads, exact, strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-3)


def columns(widths: list[float], layout: str = "last") -> np.ndarray[Any, np.dtype[np.float32]]:
    values = np.random.default_rng(0).uniform(0, 1, (2, 50, len(widths))) * widths
    return np.asarray(values if layout == "last" else values.transpose(0, 2, 1), np.float32)


@pytest.mark.parametrize(
    ("widths", "named"),
    [
        ([320.0] * 4 + [1.0] * 4, True),
        ([1.0] * 8, False),
        ([15.0] * 4 + [1.0] * 4, False),
        ([5.0] * 7 + [0.01], False),
        ([2.0, 3, 2, 3, 90, 80, 70, 95], True),
        ([0.0] * 8, False),
    ],
)
def test_concatenated_outputs(widths: list[float], named: bool, tiny_model: Path) -> None:
    """Of raw heads, whatever their number; a dead one does not count."""
    card = require_card(tiny_model)
    found = check_outputs(card, [card.outputs[0].name], [columns(widths)])
    assert [finding.kind for finding in found] == ["concatenated outputs"] * named


def test_other_normalisations() -> None:
    spec = InputSpec("image", 8, 8)
    found = alternatives(spec)
    assert len(found) == 7
    assert "0..1, rgb" not in found
    assert describe(found["-1..1, bgr"]) == "-1..1, bgr"
    red_first = found["ImageNet's mean and deviation, rgb"]
    assert (np.array([0.485, 0.456, 0.406]) * 255 * red_first.scale + red_first.offset) == pytest.approx(0, abs=1e-9)
    assert found["ImageNet's mean and deviation, bgr"].scale == red_first.scale[::-1]
    # 1/128 instead of 1/127.5 is the same thing.
    nearly = InputSpec("image", 8, 8, scale=(1 / 128,), offset=(-1.0,))
    assert "-1..1, rgb" not in alternatives(nearly)


def debug(*arguments: object) -> list[str]:
    return ["debug", *map(str, arguments)]


def test_bad_usage(tiny_cfg: Path, tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    for arguments, message in [
        ((tiny_model, "--data", photos), r"tiny.tflite without --reference; an int8 file is explained beside"),
        ((tiny_model, "--data", photos, "--reference", tiny_cfg, "--plain"), r"--plain with .*tiny.tflite"),
        ((tiny_cfg, "--data", photos, "--reference", tiny_cfg), "--reference with .*tiny.cfg; a float network is its"),
        ((tiny_cfg, "--data", tmp_path / "none"), "none: no such folder"),
        ((tiny_cfg, "--data", photos, "--calibration", tmp_path), "no images"),
        ((tmp_path / "none.cfg", "--data", photos), r"none.cfg: no such file"),
        ((tmp_path / "none.tflite", "--data", photos, "--reference", tiny_cfg), "none.tflite: no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            convert(debug(*arguments))


def test_for_people(
    tiny_cfg: Path, tiny_model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On plain pictures, of both kinds of model, with a report."""
    for arguments in ((tiny_model, "--reference", tiny_cfg), (tiny_cfg,)):
        assert convert(debug(*arguments, "--data", photos, "--report", tmp_path / "made")) == 0
        text = capsys.readouterr().out
        assert "8 images of" in text
        assert "int8 agrees with float to" in text
        assert "12 tensors put back to float one at a time" in text
        assert "lowest signal to noise" in text
        assert "restored" in (tmp_path / "made" / "report.md").read_text()


def test_a_budget_needs_a_reference(tiny_model: Path, labelled: Path) -> None:
    for flag in ("--max-drop", "--min-agreement"):
        with pytest.raises(InputError, match=f"{flag} without --reference"):
            convert(["evaluate", str(tiny_model), "--data", str(labelled), flag, "1"])
