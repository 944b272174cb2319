"""The live session with pictures whose content is known: what it shows, counts, hides, changes and survives."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.governing import Governing
from apps.governor import Level, Load
from apps.media.store import Media
from apps.notices import Notices
from apps.options import read_options
from apps.smooth import Smoother
from runtime.errors import InputError, RunError
from runtime.frame import Frame
from runtime.pipeline import Pipeline
from runtime.sources.reopening import ReopeningSource
from runtime.track import Tracked
from tests.apps.bright import CYCLE, SIDE, TOP, WIDTH, Film, Notebook, Running, Seer, Stage, boxes, left_edge, picture
from tests.waiting import until

LINE = {"name": "middle", "kind": "line", "points": [[0.5, 0], [0.5, 1]]}
ZONE = {"name": "right", "kind": "zone", "points": [[0.6, 0], [1, 0], [1, 1], [0.6, 1]]}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(
        {"small.tflite": Seer, "large.tflite": lambda: Seer(("cat", "robin", "dog"))},
        {"film": lambda: Film(3 * CYCLE), "camera": lambda: Film(None, "camera"), "other": lambda: Film(None, "other")},
    )
    monkeypatch.setattr("apps.session.Detector.open", made.open_model)
    monkeypatch.setattr("apps.session.open_lasting", made.open_source)
    return made


def config(folder: Path, *shapes: dict[str, Any]) -> str:
    path = folder / "config.toml"
    lines = [
        f"[[shapes]]\n{chr(10).join(f'{key} = {json.dumps(value)}' for key, value in shape.items())}"
        for shape in shapes
    ]
    path.write_text("\n".join(lines))
    return str(path)


def played(stage: Stage, *arguments: str) -> Notebook:
    """A whole film, no frame left out."""
    notebook = Notebook()
    with stage.session("small.tflite", "film", *arguments) as session:
        session.run([notebook], paced=False)
    return notebook


def test_every_frame_is_a_moment_and_boxes_lie_on_the_square(stage: Stage) -> None:
    moments = played(stage).moments
    assert [moment.number for moment in moments] == list(range(1, 3 * CYCLE + 1))
    assert [moment.frame.index for moment in moments] == list(range(3 * CYCLE))
    assert len(moments[0].found) == 0  # one detection is not yet an object
    for moment in moments[1:]:
        assert isinstance(moment.found, Tracked)
        assert moment.found.track_ids.tolist() == [1]
        left = left_edge(moment.frame.index)
        assert moment.found.boxes[0] == pytest.approx(
            [left, TOP, left + SIDE, TOP + SIDE], abs=8
        )  # a turn takes a track some frames
    assert moments[-1].figures.frames == 3 * CYCLE
    assert moments[-1].figures.dropped == 0


def test_without_tracking_detections_are_shown_as_they_are(stage: Stage) -> None:
    moments = played(stage, "--no-track").moments
    assert not isinstance(moments[0].found, Tracked)
    assert moments[0].found.boxes[0].tolist() == [5, TOP, 5 + SIDE, TOP + SIDE]


def test_known_crossings_and_visits_are_counted(stage: Stage, tmp_path: Path) -> None:
    """The square goes three times to the right and back."""
    notebook = played(stage, "--config", config(tmp_path, LINE, ZONE))
    line, zone = notebook.moments[-1].counts
    assert (line.into, line.out) == ({"robin": 3}, {"robin": 3})
    assert (zone.into, zone.out, zone.inside) == ({"robin": 3}, {"robin": 3}, {})
    inside = sum(left_edge(index) + SIDE / 2 > 0.6 * WIDTH for index in range(3 * CYCLE)) / 20
    assert zone.dwell_s["robin"] == pytest.approx(inside, abs=0.5)
    events = [event for moment in notebook.moments for event in moment.events]
    assert [event.number for event in events] == list(range(1, 13))
    assert [event.direction for event in events if event.kind == "line"] == ["out", "in"] * 3


def test_counts_and_numbers_survive_a_restart(stage: Stage, tmp_path: Path) -> None:
    state = str(tmp_path / "state.json")
    played(stage, "--config", config(tmp_path, LINE), "--state", state)
    moments = played(stage, "--state", state).moments
    assert moments[-1].counts[0].into == {"robin": 6}
    assert [event.number for moment in moments for event in moment.events] == list(range(7, 13))
    Path(state).write_text("{")
    moments = played(stage, "--state", state).moments
    assert moments[-1].counts == ()
    assert "was damaged" in " ".join(moments[-1].figures.notices)
    assert "was damaged" in stage.said[-1]


def test_the_first_event_has_a_number_that_is_set_aside_already(stage: Stage, tmp_path: Path) -> None:
    """Who is killed soon after the start must not use it again."""
    state = tmp_path / "state.json"
    kept: list[tuple[int, int]] = []

    class Watch(Notebook):
        def show(self, moment: Any) -> None:
            kept.extend((event.number, json.loads(state.read_text())["next_event"]) for event in moment.events)

    arguments = ("small.tflite", "film", "--state", str(state), "--config", config(tmp_path, LINE))
    for _ in range(2):
        with stage.session(*arguments) as session:
            session.run([Watch()], paced=False)
    assert [number for number, _ in kept] == list(range(1, 13))
    assert all(number < next_number for number, next_number in kept)


def test_who_waited_for_its_turn_goes_on_from_what_the_other_left(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At an update the next release is loaded while this one still counts."""
    state, shapes = str(tmp_path / "state.json"), config(tmp_path, LINE)
    monkeypatch.setenv("EDGEWREN_TURN", str(tmp_path / "turn"))
    notebook = Notebook()
    with stage.loaded("small.tflite", "film", "--state", state, "--config", shapes) as later:
        with stage.session("small.tflite", "film", "--state", state, "--config", shapes) as session:
            session.run([], paced=False)
        later.take_turn()
        later.open()
        later.run([notebook], paced=False)
    assert notebook.moments[-1].counts[0].into == {"robin": 6}


def test_who_never_had_its_turn_leaves_the_state_alone(stage: Stage, tmp_path: Path) -> None:
    state, shapes = tmp_path / "state.json", config(tmp_path, LINE)
    with stage.loaded("small.tflite", "film", "--state", str(state), "--config", shapes):
        played(stage, "--state", str(state), "--config", shapes)
        left = state.read_text()
    assert state.read_text() == left


def test_drawn_shapes_come_before_those_of_the_configuration(stage: Stage, tmp_path: Path) -> None:
    state = str(tmp_path / "state.json")
    with Running(stage.session("small.tflite", "camera", "--state", state)) as running:
        running.session.change({"shapes": [ZONE]})
    session = stage.session("small.tflite", "camera", "--state", state, "--config", config(tmp_path, LINE))
    with session:
        assert [shape["name"] for shape in session.state()["shapes"]] == ["right"]


def hidden(moment: Any) -> bool:
    """Whether no part of the noise can be seen: each block is of one colour."""
    left = left_edge(moment.frame.index)
    region = moment.frame.pixels[TOP : TOP + SIDE, left : left + SIDE].astype(int)
    same = (np.abs(np.diff(region, axis=1)).sum(axis=2) == 0).mean()
    return bool(same > 0.7)


def test_hidden_classes_are_hidden_in_every_moment(stage: Stage) -> None:
    """In the first frame, below the shown score, and where the detector overlooks the object."""
    missed = (20, 21, 22, 40)
    stage.models["small.tflite"] = lambda: Seer(missed=missed)
    shown = played(stage).moments
    assert not any(hidden(moment) for moment in shown)
    for arguments in (("--blur", "robin"), ("--blur", "robin", "--score", "0.9"), ("--blur", "robin", "--no-track")):
        moments = played(stage, *arguments).moments
        seen = [moment.frame.index for moment in moments if not hidden(moment)]
        assert seen == (list(missed) if "--no-track" in arguments else [])
    assert (picture(0).pixels == shown[0].frame.pixels).all()


def test_a_model_that_cannot_hide_what_must_be_hidden_is_refused(stage: Stage) -> None:
    stage.models["large.tflite"] = lambda: Seer(("cat", "dog"))
    with pytest.raises(InputError, match="no class 'robin' to blur"):
        stage.session("small.tflite", "film", "--blur", "robin", "--also-model", "large.tflite")


def test_classes_and_score_change_what_is_shown(stage: Stage) -> None:
    with Running(stage.session("small.tflite", "camera")) as running:
        running.wait(lambda: len(running.notebook.moments) > 3)
        assert len(running.newest().found) == 1
        running.session.change({"score": 0.9})
        running.newest()
        assert len(running.newest().found) == 0
        running.session.change({"score": 0.5, "classes": ["wren"]})
        running.newest()
        assert len(running.newest().found) == 0
        running.session.change({"classes": ["robin"]})
        running.wait(lambda: len(running.newest().found) == 1)


def test_models_and_sources_change_while_it_runs(stage: Stage) -> None:
    arguments = ("small.tflite", "camera", "--also-model", "large.tflite", "--also-source", "other")
    with Running(stage.session(*arguments)) as running:
        session = running.session
        running.wait(lambda: len(running.newest().found))
        before, small, camera = running.newest(), session.detector, session.source
        assert before.labels == ("wren", "robin")
        state = session.change({"model": "large"})
        assert (state["model"], state["models"]) == ("large", ["small", "large"])
        running.wait(lambda: (now := running.newest()).labels == ("cat", "robin", "dog") and len(now.found))
        assert getattr(small, "closed", False)
        assert session.source is camera
        assert session.state()["labels"] == ["cat", "robin", "dog"]
        session.change({"source": "other"})
        running.wait(lambda: (now := running.newest()).frame.source == "other" and len(now.found))
        assert getattr(camera, "closed", False)
        numbers = [moment.number for moment in running.notebook.moments]
        assert numbers == list(range(1, len(numbers) + 1))
        ids: dict[tuple[str, str], set[int]] = {}
        for moment in running.notebook.moments:
            assert isinstance(moment.found, Tracked)
            ids.setdefault((moment.labels[0], moment.frame.source), set()).update(moment.found.track_ids.tolist())
        assert list(ids) == [("wren", "camera"), ("cat", "camera"), ("cat", "other")]
        assert len(set.union(*ids.values())) == sum(map(len, ids.values())) >= 3  # never the same for another object
    assert all(part.closed for part in stage.opened)


def test_a_score_that_was_refused_was_not_chosen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model comes with its own score, unless one was chosen."""

    def opened(path: Path, *how: Any) -> Seer:
        seer = stage.open_model(path, *how)
        seer.score = 0.7 if path.name == "large.tflite" else 0.4
        return seer

    monkeypatch.setattr("apps.session.Detector.open", opened)
    with Running(stage.session("small.tflite", "camera", "--also-model", "large.tflite")) as running:
        session = running.session
        with pytest.raises(InputError, match="score is 7"):
            session.change({"score": 7})
        session.change({"model": "large"})
        running.wait(lambda: running.newest().labels[0] == "cat")
        assert session.state()["score"] == 0.7


def test_a_change_that_fails_leaves_everything_as_it_was(stage: Stage) -> None:
    with Running(stage.session("small.tflite", "camera", "--also-source", "gone")) as running:
        running.newest()
        running.session.change({"source": "gone"})
        running.wait(lambda: "no camera at gone" in " ".join(running.newest().figures.notices))
        assert running.session.state()["source"] == "camera"
        assert running.newest().frame.source == "camera"
    assert stage.said == ["no camera at gone"]


def test_a_change_that_the_system_refuses_is_a_notice_and_the_next_one_is_made(stage: Stage) -> None:
    def refuse() -> Any:
        raise OSError(errno.EIO, "Input/output error")

    stage.sources["broken"] = refuse
    arguments = ("small.tflite", "camera", "--also-source", "broken", "--also-source", "other")
    with Running(stage.session(*arguments)) as running:
        running.newest()
        running.session.change({"source": "broken"})
        running.wait(lambda: "Input/output error" in " ".join(running.newest().figures.notices))
        assert running.session.state()["source"] == "camera"
        running.session.change({"source": "other"})
        running.wait(lambda: running.newest().frame.source == "other")


def test_a_change_that_fails_leaves_a_newer_wish_alone(stage: Stage) -> None:
    """Otherwise the page would name the old source for ever, and choosing that would change nothing."""
    asked, gone = threading.Event(), threading.Event()

    def fail() -> Any:
        asked.set()
        gone.wait(10)
        raise InputError("no camera at gone")

    stage.sources["gone"] = fail
    arguments = ("small.tflite", "camera", "--also-source", "gone", "--also-source", "other")
    with Running(stage.session(*arguments)) as running:
        running.newest()
        running.session.change({"source": "gone"})
        assert asked.wait(10)
        running.session.change({"source": "other"})
        gone.set()
        running.wait(lambda: running.newest().frame.source == "other")
        assert running.session.state()["source"] == "other"
        running.session.change({"source": "camera"})
        running.wait(lambda: running.newest().frame.source == "camera")


def test_what_fails_once_more_is_shown_for_another_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr("apps.notices.time.monotonic", lambda: now[0])
    notices = Notices(said.append)
    shown = []
    for now[0] in (0.0, 59.0, 118.0):
        notices.set("change", "no camera", lasting=False)
        shown.append(notices.texts())
    now[0] = 177.0
    assert [*shown, notices.texts()] == [("no camera",)] * 4
    now[0] = 179.0
    assert notices.texts() == ()
    assert said == ["no camera"]


def test_a_defect_between_two_results_ends_the_session() -> None:
    """Otherwise the smooth page would stand still while all seems well."""
    failed = threading.Event()

    def show(frame: Frame) -> None:
        failed.set()
        raise RuntimeError("a defect")

    smoother = Smoother(show)
    smoother.judge(10, 30)
    smoother.passed(picture(0))
    assert failed.wait(10)
    until(lambda: not smoother.active, seconds=10)
    with pytest.raises(RuntimeError, match="a defect"):
        smoother.judge(10, 30)
    smoother.close()


def test_a_defect_in_the_upkeep_ends_the_session(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise no state would be kept and nothing slowed down while all seems well."""

    def fail(self: Governing, load: Load) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Governing, "update", fail)
    session = stage.session("small.tflite", "camera")
    with pytest.raises(RuntimeError, match="a defect"), session:
        session.run((), paced=False)


def test_a_defect_in_opening_what_is_wanted_ends_the_session(stage: Stage) -> None:
    """Otherwise no wish would be granted any more while all seems well."""

    def fail() -> Any:
        raise RuntimeError("a defect")

    stage.sources["broken"] = fail
    session = stage.session("small.tflite", "camera", "--also-source", "broken")
    limit = threading.Timer(10, session.stop)
    limit.start()
    session.change({"source": "broken"})
    with pytest.raises(RuntimeError, match="a defect"), session:
        session.run((), paced=False)
    limit.cancel()


def test_the_last_of_many_wishes_counts_and_nothing_is_left_over(stage: Stage) -> None:
    arguments = ("small.tflite", "camera", "--also-model", "large.tflite", "--also-source", "other")
    with Running(stage.session(*arguments)) as running:
        running.newest()
        threads = threading.active_count()
        for index in range(30):
            running.session.change(
                {"model": ("large", "small")[index % 2], "source": ("other", "camera")[index % 3 == 0]}
            )
        running.session.change({"model": "large", "source": "other"})
        running.wait(lambda: running.newest().labels[0] == "cat" and running.newest().frame.source == "other")
        running.wait(lambda: threading.active_count() <= threads)
        assert sum(not part.closed for part in stage.opened) == 2
    assert all(part.closed for part in stage.opened)


def test_a_change_that_is_ready_between_two_pipelines_is_made(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none to interrupt then."""
    session = stage.session("small.tflite", "camera", "--also-model", "large.tflite")

    def late(*arguments: Any, **named: Any) -> Pipeline:
        monkeypatch.setattr("apps.session.Pipeline", Pipeline)
        session.change({"model": "large"})
        until(lambda: session._switcher.prepared, seconds=10)
        return Pipeline(*arguments, **named)

    monkeypatch.setattr("apps.session.Pipeline", late)
    with Running(session) as running:
        running.wait(lambda: running.newest().labels[0] == "cat")


def test_a_wish_in_the_moment_another_is_ready_does_not_end_the_session(stage: Stage) -> None:
    """What was ready is given up, and there is nothing to take in the place of it yet."""
    taken = threading.Event()

    def third() -> Seer:
        taken.wait(10)
        return Seer(("owl", "robin"))

    def ready() -> None:
        session.change({"model": "third"})
        session._interrupt()

    def late() -> Any:
        switcher.take = take  # type: ignore[method-assign]
        until(lambda: not switcher.prepared, seconds=10)
        change = take()
        taken.set()
        return change

    stage.models["third.tflite"] = lambda: Seer(("owl", "robin"))
    session = stage.session("small.tflite", "camera", "--also-model", "large.tflite", "--also-model", "third.tflite")
    stage.models["third.tflite"] = third
    switcher, take = session._switcher, session._switcher.take
    switcher._ready, switcher.take = ready, late  # type: ignore[method-assign]
    with Running(session) as running:
        running.newest()
        session.change({"model": "large"})
        running.wait(lambda: running.newest().labels[0] == "owl")
        assert session.state()["model"] == "third"


class Camera:
    """Gives frames until it is unplugged; then opening fails until it is plugged in."""

    def __init__(self) -> None:
        self.plugged = True

    def open(self) -> Any:
        if not self.plugged:
            raise InputError("no camera at camera")
        camera, film = self, Film(None, "camera")

        class Source(Film):
            def read(self) -> Any:
                if not camera.plugged:
                    raise RunError("camera stopped")
                return film.read()

        return Source(None, "camera")


def test_a_camera_that_goes_and_comes_back_is_told(stage: Stage) -> None:
    camera = Camera()
    stage.sources["camera"] = lambda: ReopeningSource("camera", camera.open, camera.open(), pause=lambda n: 0.05)
    with Running(stage.session("small.tflite", "camera", "--also-model", "large.tflite")) as running:
        assert running.newest().figures.source == "live"
        camera.plugged = False
        running.wait(lambda: running.notebook.told)
        running.wait(lambda: running.notebook.told[-1].source == "reopening")
        figures = running.notebook.told[-1]
        assert "no camera at camera; trying again" in figures.notices
        assert running.session.health.check(0)[0]
        # A model can be changed meanwhile.
        running.session.change({"model": "large"})
        running.wait(lambda: running.session.detector.labels[0] == "cat")
        camera.plugged = True
        running.wait(lambda: running.newest().figures.source == "live")
        assert running.newest().figures.notices == ()
        assert running.newest().labels[0] == "cat"


def test_it_stops_while_the_camera_is_away(stage: Stage) -> None:
    camera = Camera()
    stage.sources["camera"] = lambda: ReopeningSource("camera", camera.open, camera.open(), pause=lambda n: 0.05)
    with Running(stage.session("small.tflite", "camera")) as running:
        running.newest()
        camera.plugged = False
        running.wait(lambda: running.notebook.told and running.notebook.told[-1].source == "reopening")


def test_a_network_that_fails_ends_it_with_its_error(stage: Stage) -> None:
    class Broken(Seer):
        def infer(self, frame: Any) -> Any:
            raise RunError("the network fails")

    stage.models["small.tflite"] = Broken
    with stage.session("small.tflite", "film") as session, pytest.raises(RunError, match="the network fails"):
        session.run([], paced=False)


def test_a_slow_network_shows_predicted_boxes_at_the_rate_of_the_camera(stage: Stage, tmp_path: Path) -> None:
    """What is shown smoothly has more frames than results, boxes on the square, and every event once."""

    class Slow(Seer):
        def infer(self, frame: Any) -> Any:
            time.sleep(0.2)
            return super().infer(frame)

    class Calm(Film):
        """Twenty frames a second, by the clock: on a busy machine it leaves some out, as a camera does."""

        begin = 0.0

        def read(self) -> Any:
            now = time.monotonic()
            self.begin = self.begin or now
            self._next = max(self._next, int((now - self.begin) * 20))
            due = self.begin + self._next / 20
            time.sleep(max(0.0, due - now))
            frame = super().read()
            assert frame is not None
            frame.captured = due
            return frame

    stage.models["small.tflite"], stage.sources["camera"] = Slow, lambda: Calm(None)
    page = Page()
    session = stage.session("small.tflite", "camera", "--smooth", "--config", config(tmp_path, LINE))
    with Running(session, page) as running:
        running.wait(lambda: any(moment.events for moment in page.moments))
        count, shown = len(running.notebook.moments), len(page.moments)
        running.wait(lambda: len(running.notebook.moments) >= count + 8)
        assert len(page.moments) - shown >= 2 * (len(running.notebook.moments) - count)
    numbers = [moment.number for moment in page.moments]
    assert numbers == sorted(set(numbers))
    told = [event.number for moment in page.moments for event in moment.events]
    assert told == sorted(set(told))
    # Where it has gone straight on for a while: nothing can foresee its turns.
    straight = [(index, box) for index, box in boxes(page.moments) if 16 <= index % (CYCLE // 2) < 29]
    assert len(straight) > 10
    off = sorted(abs(box[0] - left_edge(index)) for index, box in straight)
    assert off[len(off) // 2] < 5  # it moves 16 pixels from result to result


class Page(Notebook):
    """An output that wants every picture."""

    smooth = True


def test_single_pictures_after_a_camera_are_shown_with_their_boxes(stage: Stage) -> None:
    """Nothing moves in between: there are no boxes to expect."""
    stills = Film(8)
    stills.fps = None
    stage.sources["stills"] = lambda: stills
    notebook, page = Notebook(), Page()
    with stage.session("small.tflite", "stills", "--smooth") as session:
        assert session._smoother
        session._smoother.active = True  # as a camera has left it
        session.run([notebook, page], paced=False)
    assert [len(moment.found) for moment in notebook.moments] == [1] * 8
    assert [moment.number for moment in page.moments] == [moment.number for moment in notebook.moments]
    assert [len(moment.found) for moment in page.moments] == [1] * 8


def test_events_are_told_when_the_network_has_caught_up_before_another_frame(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = iter(range(3 * CYCLE))

    def judge(self: Smoother, fps: float, camera_fps: float | None) -> None:
        self.active = next(results) < CYCLE

    monkeypatch.setattr(Smoother, "judge", judge)
    monkeypatch.setattr(Smoother, "passed", lambda self, frame: None)
    notebook, page = Notebook(), Page()
    with stage.session("small.tflite", "film", "--smooth", "--config", config(tmp_path, LINE)) as session:
        session.run([notebook, page], paced=False)
    every, told = ([event for moment in one.moments for event in moment.events] for one in (notebook, page))
    assert len(page.moments) == 2 * CYCLE
    assert told == every
    assert len(every) == 6


class Recorder:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.recording = False

    def record(self, on: bool) -> None:
        self.recording = on

    def snapshot(self, moment: Any) -> str:
        return f"snapshot-{moment.number}.jpg"


class Shelf:
    """Clips of an earlier run."""

    def __init__(self, *clips: Media) -> None:
        self._clips = clips

    def entries(self) -> tuple[Media, ...]:
        return self._clips

    def find(self, name: str) -> None:
        return None


def test_recording_and_snapshots_go_to_the_media_store(stage: Stage) -> None:
    with Running(stage.session("small.tflite", "camera")) as running:
        session = running.session
        with pytest.raises(InputError, match="no folder to store pictures in"):
            session.snapshot()
        with pytest.raises(InputError, match="no folder to record to"):
            session.change({"recording": True})
        session.record_with(Recorder(), Shelf())
        assert session.state()["can_record"]
        assert session.change({"recording": True})["recording"]
        assert not session.change({"recording": False})["recording"]
        number = running.newest().number
        assert int(session.snapshot().removeprefix("snapshot-").removesuffix(".jpg")) >= number


def test_events_do_not_take_the_numbers_of_clips_that_are_there(stage: Stage, tmp_path: Path) -> None:
    """The page would link an event of today to the clip of yesterday."""
    old = Media("clip-20260102T030405Z-7-9.mp4", "clip", 1, 0.0, 7, 9), Media("snapshot-1.jpg", "snapshot", 1, 0.0)
    notebook = Notebook()
    with stage.session("small.tflite", "film", "--config", config(tmp_path, LINE)) as session:
        session.record_with(Recorder(), Shelf(*old))
        session.run([notebook], paced=False)
    numbers = [event.number for moment in notebook.moments for event in moment.events]
    assert numbers == list(range(10, 10 + len(numbers)))
    assert numbers


def test_reset_sets_counts_back(stage: Stage, tmp_path: Path) -> None:
    with Running(stage.session("small.tflite", "camera", "--config", config(tmp_path, LINE))) as running:
        running.wait(lambda: running.newest().counts[0].out)
        running.session.change({"reset_counts": True})
        running.newest()
        assert sum(running.newest().counts[0].out.values()) <= 1


class Pipe:
    """Notes its limit."""

    def __init__(self) -> None:
        self.fps: float | None = -1.0

    def limit(self, fps: float | None, reason: str) -> None:
        self.fps = fps


@pytest.mark.parametrize(
    ("arguments", "levels", "limits", "wishes"),
    [
        ((), [Level(0.75), Level(0.5), Level()], [15, 10, None], []),
        (("--max-fps", "12"), [Level(0.75), Level(0.5), Level()], [12, 10, 12], []),
        (
            ("--small-model", "small.tflite", "--threads", "4"),
            [Level(0.5), Level(0.5, small=True), Level(0.33, 0.5, True), Level(0.5, small=True), Level()],
            [10, 10, 6.6, 10, None],
            [{"model": "small"}, {"threads": 2}, {"threads": 4}, {"model": "large"}],
        ),
    ],
    ids=["rate", "beside a limit of one's own", "model and threads"],
)
def test_levels_of_the_governor_are_obeyed(
    arguments: tuple[str, ...],
    levels: list[Level],
    limits: list[float | None],
    wishes: list[dict[str, Any]],
    stage: Stage,
) -> None:
    """At 20 results a second before the first step."""
    asked: list[dict[str, Any]] = []
    options = read_options(["large.tflite", "camera", *arguments])
    want: Callable[..., None] = lambda **parts: asked.append(parts)  # noqa: E731
    model: Callable[[], str] = lambda: {"model": "large", **ChainMap(*reversed(asked))}["model"]  # noqa: E731
    governing = Governing(options, want, 4, model, "small" if options.small_model else None)
    pipe = Pipe()
    governing.steer(pipe, lambda: 20.0)  # type: ignore[arg-type]
    seen = []
    for level in levels:
        governing.apply(level)
        seen.append(pipe.fps)
    assert seen == [None if limit is None else pytest.approx(limit) for limit in limits]
    assert asked == wishes


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_the_governor_goes_back_to_the_model_that_was_chosen(when: str, stage: Stage) -> None:
    """Not to the first one: that is no longer wanted."""
    stage.models["third.tflite"] = lambda: Seer(("owl", "robin"))
    arguments = ("large.tflite", "camera", "--small-model", "small.tflite", "--also-model", "third.tflite")
    with Running(stage.session(*arguments)) as running:
        session = running.session
        if when == "before":
            session.change({"model": "third"})
        session._governing.apply(Level(0.5, small=True))
        if when == "meanwhile":
            session.change({"model": "third"})
        session._governing.apply(Level())
        assert session.state()["model"] == "third"
        running.wait(lambda: running.newest().labels[0] == "owl")


@pytest.mark.parametrize(("threads", "fewer"), [(1, None), (2, 1), (3, 2)], ids=["one", "two", "three"])
def test_fewer_threads_are_fewer_than_what_runs(
    threads: int, fewer: int | None, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``bench --tune`` has chosen may be fewer than there are cores."""
    monkeypatch.setattr(Seer, "threads", threads)
    asked: list[dict[str, Any]] = []
    with stage.session("small.tflite", "camera") as session, monkeypatch.context() as patched:
        patched.setattr(session._governing, "_want", lambda **parts: asked.append(parts))
        for turn in range(40):
            patched.setattr("apps.governing.time.monotonic", lambda now=10.0 * turn: now)
            session._governing.update(Load(10, temperature=99.0))
    assert asked == ([] if fewer is None else [{"threads": fewer}])
