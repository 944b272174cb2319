"""``python -m convert prune``: what it refuses in one line, and networks that get smaller and can be read again."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from convert.cli import main as convert
from convert.data import Dataset
from convert.importers import keras_file, load_source
from convert.models.layers import NearestUpsample
from convert.prune import command
from convert.prune.measure import Scales
from convert.prune.plan import PrunePlan, Target
from convert.prune.run import Workplace, prune_detector
from convert.prune.tune import LeaveAlone
from convert.quantize import child, tflite
from convert.quantize.heads import SplitModel
from convert.source import SourceModel
from convert.stopwatch import Timing
from runtime.card import Pruning
from runtime.commandline import run as guarded
from runtime.errors import InputError
from runtime.modelfile import require_card
from tests.conftest import ROOT, picture
from tests.convert.prune_family import chain, counted, mixed
from tests.convert.small_nets import make, pictures, run
from tests.convert.test_train_feed import dataset
from tests.nets import tiny_detector

PLAIN = "prune {d}/plain.keras -o {d}/out.keras --work {d}/work"
CFG = "prune {d}/net.cfg -o {d}/out.keras --work {d}/work"

# Arguments, and what the line must contain. {d} is the folder the test made.
CASES: list[tuple[str, str]] = [
    ("prune", "required: SOURCE, -o/--output"),
    ("prune {d}/plain.keras", "required: -o/--output"),
    (PLAIN, "no target; expected exactly one of --ratio, --macs, --size, --latency and --speedup"),
    (f"{PLAIN} --ratio 0.5 --macs 1M", "--ratio and --macs; expected exactly one"),
    (f"{PLAIN} --size 4k --latency 2", "--size and --latency; expected exactly one"),
    (f"{PLAIN} --ratio 0", "--ratio 0; expected a share above 0 and below 1"),
    (f"{PLAIN} --ratio 1", "--ratio 1; expected a share above 0 and below 1"),
    (f"{PLAIN} --ratio 1.5", "--ratio 1.5; expected a share above 0 and below 1"),
    (f"{PLAIN} --ratio -0.5", "--ratio -0.5; expected a share above 0 and below 1"),
    (f"{PLAIN} --ratio half", "'half' is not a number"),
    (f"{PLAIN} --ratio nan", "nan is not a number one can reach"),
    (f"{PLAIN} --macs inf", "inf is not a number one can reach"),
    (f"{PLAIN} --macs M", "'' is not a number"),
    (f"{PLAIN} --macs 0", "--macs 0; expected a number above 0"),
    (f"{PLAIN} --latency -3", "--latency -3; expected a number above 0"),
    (f"{PLAIN} --macs 900G", "expected less than the"),
    (f"{PLAIN} --ratio 0.97", "ratio 0.97 would empty layers"),
    (f"{PLAIN} --ratio 0.97 --scope layer", "empty stem, which has 16 channels; expected at most 0.93"),
    (f"{PLAIN} --ratio 0.5 --rank luck", "invalid choice: 'luck'"),
    (f"{PLAIN} --ratio 0.5 --multiple 0", "0 is not a whole number of at least 1"),
    (f"{PLAIN} --ratio 0.5 --seed 4294967296", "4294967296 is not a whole number in 1..4294967295"),
    (f"{PLAIN} --ratio 0.5 --rounds 0", "0 is not a whole number of at least 1"),
    (f"{PLAIN} --ratio 0.5 --learning-rate 0", "--learning-rate 0; expected a number above 0"),
    (f"{PLAIN} --ratio 0.5 --learning-rate -1", "--learning-rate -1; expected a number above 0"),
    (f"{PLAIN} --ratio 0.5 --rank taylor", "--rank taylor without --data; it looks at pictures; add --data DIR, or"),
    (f"{PLAIN} --ratio 0.5 --rank apoz", "--rank apoz without --data"),
    (f"{PLAIN} --ratio 0.5 --max-drop 2", "--max-drop without --test"),
    (f"{PLAIN} --ratio 0.5 --ssh-config {{d}}/f", "--ssh-config without --device"),
    (f"{PLAIN} --speedup 1", "a speedup of 1; expected a number above 1"),
    (f"{PLAIN} --speedup 2", "--speedup for a network without known input and heads"),
    (f"{PLAIN} --latency 2", "--latency for a network without known input and heads"),
    (f"{PLAIN} --size 2k", "--size for a network without known input and heads"),
    (f"{PLAIN} --ratio 0.5 --data {{d}}/photos", "--data with {d}/plain.keras; how pictures are fed"),
    (f"{PLAIN} --ratio 0.5 --test {{d}}/photos", "--test with {d}/plain.keras; how pictures are fed"),
    ("prune {d}/plain.keras -o {d}/out.tflite --ratio 0.5", "expected -o OUT.keras: its heads are not known"),
    ("prune {d}/plain.keras -o {d}/out.npz --ratio 0.5", "expected -o OUT ending in .keras or .tflite"),
    ("prune {d}/plain.keras -o {d}/out.onnx --ratio 0.5", "expected -o OUT ending in .keras or .tflite"),
    ("prune {d}/plain.keras -o {d}/no/out.keras --ratio 0.5", "no such folder"),
    ("prune {d}/missing.keras -o {d}/out.keras --ratio 0.5", "missing.keras: no such file"),
    ("prune {d}/missing.cfg -o {d}/out.keras --ratio 0.5", "missing.cfg: no such file"),
    ("prune {d}/missing.h5 -o {d}/out.keras --ratio 0.5", "missing.h5: no such file"),
    ("prune {d}/empty.keras -o {d}/out.keras --ratio 0.5", "empty.keras is empty"),
    ("prune {d}/text.keras -o {d}/out.keras --ratio 0.5", "text.keras is not a Keras model"),
    ("prune {d}/text.h5 -o {d}/out.keras --ratio 0.5", "text.h5 is not a Keras model"),
    ("prune {d}/cut.keras -o {d}/out.keras --ratio 0.5", "cut.keras is not a Keras model"),
    ("prune {d}/flipped.keras -o {d}/out.keras --ratio 0.5", "flipped.keras is not a Keras model"),
    ("prune {d}/zip.keras -o {d}/out.keras --ratio 0.5", "zip.keras is not a Keras model"),
    ("prune {d}/own.keras -o {d}/out.keras --ratio 0.5", "own.keras has classes of its own"),
    ("prune {d}/lambda.keras -o {d}/out.keras --ratio 0.5", "lambda.keras has a Lambda layer"),
    ("prune {d}/facts.keras -o {d}/out.keras --ratio 0.5", "edgewren.json"),
    ("prune {d}/facts2.keras -o {d}/out.keras --ratio 0.5", "facts2.keras"),
    ("prune nothing -o {d}/out.npz --ratio 0.5", "no recipe 'nothing'"),
    ("prune yolo-fastest-1.1 -o {d}/out.npz --ratio 0.5", "yolo-fastest-1.1 is darknet; expected a recipe that is"),
    (f"{CFG} --ratio 0.5 --data {{d}}/missing", "missing: no such folder"),
    (f"{CFG} --ratio 0.5 --data {{d}}/photos --more {{d}}/missing", "missing: no such folder"),
    (f"{CFG} --ratio 0.5 --more {{d}}/photos", "--more without --data"),
    (f"{CFG} --macs 1M --remove blocks", "--remove blocks without --data; blocks are judged by pictures"),
    (f"{CFG} --ratio 0.5 --remove blocks --data {{d}}/photos", "--remove blocks with --ratio; that is for channels"),
    (f"{CFG} --macs 1M --remove blocks --rank l1 --data {{d}}/photos", "--remove blocks with --rank"),
    (f"{CFG} --remove blocks --sparsity 2:4 --data {{d}}/photos", "--remove blocks with --sparsity"),
    (
        f"{CFG} --sparsity 2:4 --test {{d}}/photos --max-drop 1",
        "--sparsity with --max-drop; that is for removed channel",
    ),
    (f"{CFG} --sparsity 2:4 --data {{d}}/photos --rank taylor", "--sparsity with --rank; that is for removed channels"),
    (f"{CFG} --sparsity 2:4 --data {{d}}/photos --more {{d}}/photos", "--sparsity with --more"),
    (f"{CFG} --sparsity 2:4 --device pi@board", "--sparsity with --device"),
    (f"{CFG} --sparsity 2:4 --test {{d}}/photos", "out.keras; only a .tflite is measured as it is written"),
    ("prune playing-cards -o {d}/out.npz --sparsity 2:4", "out.npz; expected -o OUT ending in .keras or .tflite"),
    ("prune playing-cards -o {d}/out.npz --macs 90M --remove blocks", "--remove blocks of a recipe that is trained"),
    (f"{CFG} --ratio 0.5 --data {{d}}/void", "void holds no images"),
    (f"{CFG} --ratio 0.5 --rank taylor", "--rank taylor without --data"),
    (f"{CFG} --ratio 0.5 --test {{d}}/missing", "missing"),
    (f"{CFG} --ratio 0.5 --test {{d}}/photos --max-drop 2", "photos has no annotations; expected some: --max-drop"),
    ("prune {d}/net.cfg -o {d}/out.tflite --ratio 0.5", "out.tflite without --data; int8 ranges come from pictures"),
]


class Mine(keras.Model):  # type: ignore[misc]
    """A model whose graph is not known."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.layer = keras.layers.Conv2D(8, 3)

    def call(self, inputs: object) -> object:
        return self.layer(inputs)


def save_own(path: Path) -> None:
    model = Mine()
    model(np.zeros((1, 8, 8, 3), np.float32))
    model.save(path)


def with_facts(folder: Path, name: str, text: str) -> None:
    (folder / name).write_bytes((folder / "plain.keras").read_bytes())
    with zipfile.ZipFile(folder / name, "a") as archive:
        archive.writestr("edgewren.json", text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks in files, good ones and others."""
    folder = tmp_path_factory.mktemp("prune")
    make(mixed, batch=None).save(folder / "plain.keras")
    data = (folder / "plain.keras").read_bytes()
    (folder / "cut.keras").write_bytes(data[: len(data) // 2])
    (folder / "flipped.keras").write_bytes(data[:300] + bytes(2000) + data[2300:])
    for name in ("text.keras", "text.h5"):
        (folder / name).write_text("this is a text, whatever its name says\n" * 30)
    (folder / "empty.keras").touch()
    with zipfile.ZipFile(folder / "zip.keras", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    save_own(folder / "own.keras")
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)).save(folder / "lambda.keras")
    with_facts(folder, "facts.keras", json.dumps({"name": 3}))
    with_facts(folder, "facts2.keras", "{")
    for name in ("void", "photos"):
        (folder / name).mkdir()
    cv2.imwrite(str(folder / "photos" / "a.png"), picture(1, 60, 50))
    tiny_detector().write(folder, "net")
    return folder


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if "work" not in path.parts}


@pytest.mark.parametrize(("arguments", "expected"), CASES, ids=[arguments for arguments, _ in CASES])
def test_one_line_and_status_2(
    arguments: str,
    expected: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = snapshot(folder)
    with contextlib.redirect_stdout(io.StringIO()):
        status = guarded(convert, arguments.format(d=folder).split())
    error = capfd.readouterr().err
    assert status == 2, error
    assert error.startswith("error: ")
    assert expected.replace("{d}", str(folder)) in error
    assert error.count("\n") == 1
    assert snapshot(folder) == before


def prune(*arguments: object) -> int:
    with contextlib.redirect_stdout(io.StringIO()):
        return convert(["prune", *map(str, arguments)])


@pytest.mark.parametrize("target", [("--ratio", 0.5), ("--macs", "300k")])
def test_plain_network_gets_smaller(target: tuple[str, object], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.keras"
    more = ("--rank", "l1", "--multiple", 2, "--work", tmp_path / "work", "--rounds", 2)
    assert prune(folder / "plain.keras", "-o", out, *target, *more) == 0
    whole, small = (keras.saving.load_model(path) for path in (folder / "plain.keras", out))
    assert counted(small) < 0.6 * counted(whole)
    if target[0] == "--macs":
        assert 240e3 < counted(small) <= 300e3
    assert out.stat().st_size < (folder / "plain.keras").stat().st_size
    images = pictures(2)
    assert run(small, images)[0].shape == run(whole, images)[0].shape
    # A pruned network can be pruned again.
    again = tmp_path / "smaller.keras"
    assert prune(out, "-o", again, "--ratio", 0.2, "--multiple", 1, "--work", tmp_path / "again") == 0
    assert counted(keras.saving.load_model(again)) < counted(small)


def test_same_command_same_bytes_of_weights(folder: Path, tmp_path: Path) -> None:
    found = []
    for name in "ab":
        out = tmp_path / f"{name}.keras"
        arguments = ("--ratio", 0.3, "--rank", "random", "--seed", 7, "--work", tmp_path / f"work-{name}")
        assert prune(folder / "plain.keras", "-o", out, *arguments) == 0
        found.append(keras.saving.load_model(out).get_weights())
    assert all(map(np.array_equal, *found))


def test_old_h5(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(chain, batch=None).save(tmp_path / "old.h5")
    assert prune(tmp_path / "old.h5", "-o", tmp_path / "new.keras", "--ratio", 0.3, "--work", tmp_path / "work") == 0
    assert keras.saving.load_model(tmp_path / "new.keras").count_params() < make(chain).count_params()


class QuickWatch:
    """Tells the time by the bytes of a file."""

    name = "a ruler"

    def by_op(self, file: bytes) -> dict[str, float]:
        return {}

    def time(self, files: Sequence[bytes]) -> list[Timing]:
        return [Timing(len(data) / 1000, 100 * (len(data) / len(files[0]) - 1)) for data in files]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converts in this process, and takes no time."""
    monkeypatch.setattr(tflite, "convert_apart", child.main)
    monkeypatch.setattr(command, "stopwatch", lambda board, config: QuickWatch())


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore")
def test_detector_to_both_kinds_of_file(tiny_cfg: Path, photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photos.iterdir())[:3]:
        (few / path.name).write_bytes(path.read_bytes())
    more = ("--ratio", 0.4, "--rounds", 1, "--final-steps", 3, "--multiple", 2, "--data", few, "--test", few)
    work = ("--work", tmp_path / "work")
    assert prune(tiny_cfg, "-o", tmp_path / "small.keras", *more, *work) == 0
    source = load_source(tmp_path / "small.keras")
    whole = load_source(tiny_cfg)
    assert source.labels == whole.labels
    assert source.decoder == whole.decoder
    assert source.pruning is not None
    assert source.pruning.macs_after == counted(source.model) < source.pruning.macs_before
    filters = [
        sum(each.filters for each in net.layers if hasattr(each, "filters")) for net in (whole.model, source.model)
    ]
    assert source.pruning.ratio == pytest.approx(1 - filters[1] / filters[0], abs=1e-4)
    # The heads' channels, which must stay, count too.
    assert 0.2 < source.pruning.ratio < 0.4
    # The rounds are kept: the second file costs a conversion alone, and says what was removed.
    rounds = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("round-*")}
    assert sorted(rounds) == ["round-01.keras", "round-01.npz"]
    assert prune(tiny_cfg, "-o", tmp_path / "small.tflite", *more, *work) == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("round-*")} == rounds
    card = require_card(tmp_path / "small.tflite")
    assert card.pruning == source.pruning
    plot = cv2.imread(str(tmp_path / "work" / "pruning.png"))
    assert plot is not None
    assert plot.std() > 5


def test_each_network_is_converted_once(tiny_cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made = load_source(tiny_cfg), list[str]()

    def to_tflite(split: SplitModel, *rest: object) -> bytes:
        made.append(split.model.name)
        return bytes(1000 * len(made))

    monkeypatch.setattr("convert.prune.measure.to_tflite", to_tflite)
    scales = Scales(source, pictures(3, 64, 64), QuickWatch())
    other = keras.models.clone_model(source.model)
    assert (scales.size(source.model), scales.time(source.model), scales.whole_size) == (1000, (1.0, 1.0), 1000)
    assert (scales.size(other), scales.time(other), len(made)) == (2000, (2.0, 1.0), 2)
    assert (scales.size(source.model), scales.whole_size, len(made)) == (3000, 1000, 3)


class BusyWatch:
    """A machine that gets slower and faster: a file of n bytes takes n milliseconds when it is idle."""

    name = "a busy machine"

    def __init__(self) -> None:
        self._load = [2.0, 1.0, 3.0]

    def by_op(self, file: bytes) -> dict[str, float]:
        return {}

    def time(self, files: Sequence[bytes]) -> list[Timing]:
        load = self._load.pop(0)
        return [Timing(load * len(data), 100 * (len(data) / len(files[0]) - 1)) for data in files]


def test_times_are_those_of_the_quietest_moment(tiny_cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_source(tiny_cfg)
    small = keras.models.clone_model(source.model)
    monkeypatch.setattr("convert.prune.measure.to_tflite", lambda split, *_: bytes(8 if split.model is small else 10))
    monkeypatch.setattr("convert.prune.measure.split_heads", lambda source: source)
    scales = Scales(source, pictures(3, 64, 64), BusyWatch())
    assert [scales.time(small) for _ in range(3)] == [(16.0, 20.0), (8.0, 10.0), (8.0, 10.0)]


def test_rounds_of_other_pictures_and_clocks_are_not_taken_up(
    tiny_cfg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, plan and folder; what the network is fed, trained, timed or measured by is another."""
    monkeypatch.setattr("convert.prune.measure.to_tflite", lambda *_: bytes(1000))
    monkeypatch.setattr("convert.prune.run.plot_points", lambda *_: None)
    plan = PrunePlan(target=Target("ratio", 0.4), rank="l1", multiple=2, rounds=1)
    source, large = load_source(tiny_cfg), load_source(tiny_cfg, input_size=(96, 96))
    letterbox = dataclasses.replace(source, input=dataclasses.replace(source.input, resize="letterbox"))
    data = dataset(tmp_path / "test", 2, source.labels.names)
    boxes = data.truths[0].boxes * np.float32(0.9)
    corrected = dataclasses.replace(data, truths=(dataclasses.replace(data.truths[0], boxes=boxes), data.truths[1]))
    elsewhere = QuickWatch()
    elsewhere.name = "another ruler"

    def rounds(source: SourceModel, seed: int, trained_on: bytes, test: Dataset | None, watch: QuickWatch) -> int:
        told: list[str] = []
        place = Workplace(tmp_path / "work", False, test, None, watch, told.append)
        samples = pictures(2, source.input.height, source.input.width, seed)
        pruned = prune_detector(source, plan, LeaveAlone(), samples, None, place, trained_on=trained_on)
        assert pruned.source.model.input_shape[1:3] == (source.input.height, source.input.width)
        return sum("fitting and training" in text for text in told)

    plain = (source, 1, b"", None, QuickWatch())
    changes = ((0, letterbox), (0, large), (1, 2), (2, b"others"), (3, data), (3, corrected), (4, elsewhere))
    others: list[Any] = [(*plain[:index], other, *plain[index + 1 :]) for index, other in changes]
    assert [rounds(*each) for each in (plain, plain, *others)] == [1, 0, 1, 1, 1, 1, 1, 1, 1]


def test_detector_in_a_file(tiny_cfg: Path, tmp_path: Path) -> None:
    """Everything the device must know comes back, and any Keras can read the network."""
    source = dataclasses.replace(load_source(tiny_cfg), pruning=Pruning(0.25, 200, 100))
    path = tmp_path / "kept.keras"
    keras_file.save(path, source.model, source)
    found = keras_file.load(path)
    for field in dataclasses.fields(source):
        if field.name != "model":
            assert getattr(found, field.name) == getattr(source, field.name), field.name
    images = pictures(1, 64, 64)
    for net in (found.model, keras.saving.load_model(path, compile=False)):
        for one, other in zip(run(net, images), run(source.model, images), strict=True):
            np.testing.assert_array_equal(one, other)
    assert keras_file.is_detector(path)


def test_layers_of_this_project_are_known_to_a_new_process(tiny_cfg: Path, tmp_path: Path) -> None:
    source = load_source(tiny_cfg)
    assert any(isinstance(layer, NearestUpsample) for layer in source.model.layers)
    keras_file.save(tmp_path / "kept.keras", source.model, source)
    command = "import sys, pathlib; from convert.importers import load_source; load_source(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", command, tmp_path / "kept.keras"], check=True, cwd=ROOT, timeout=300)


def test_plain_network_is_no_detector(folder: Path) -> None:
    assert not keras_file.is_detector(folder / "plain.keras")
    with pytest.raises(InputError, match="does not say how pictures are fed to it"):
        keras_file.load(folder / "plain.keras")
