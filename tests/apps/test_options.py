"""Flags and configuration file: what wins, and what is refused with which words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.options import SETTINGS, parser, read_options
from runtime.errors import InputError
from tests.conftest import ROOT


def config(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_alone() -> None:
    options = read_options(
        [
            "m.tflite",
            "0",
            "--score",
            "0.3",
            "out.mp4",
            "json://-",
            "--also-model",
            "a.tflite",
            "--also-model",
            "b.tflite",
        ]
    )
    assert (options.model, options.input, options.outputs) == (Path("m.tflite"), "0", ("out.mp4", "json://-"))
    assert (options.score, options.also_models) == (0.3, (Path("a.tflite"), Path("b.tflite")))
    assert options.track
    assert options.pace is None


def test_without_outputs_the_page_is_served_on_this_machine_alone() -> None:
    assert read_options(["m.tflite", "0"]).outputs == ("http://127.0.0.1:8080",)


def test_the_file_alone_and_flags_before_it(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        """
        model = "m.tflite"
        input = "rtsp://camera/stream"
        outputs = ["out.mp4"]
        score = 0.5
        track = false
        threads = 2
        blur = ["person"]
        """,
    )
    options = read_options(["--config", str(path)])
    assert (options.model, options.input, options.outputs) == (Path("m.tflite"), "rtsp://camera/stream", ("out.mp4",))
    assert (options.score, options.track, options.threads, options.blur) == (0.5, False, 2, ("person",))
    options = read_options(
        ["other.tflite", "1", "json://-", "--config", str(path), "--score", "0.7", "--blur", "cat,dog"]
    )
    assert (options.model, options.input, options.outputs) == (Path("other.tflite"), "1", ("json://-",))
    assert (options.score, options.threads, options.blur) == (0.7, 2, ("cat", "dog"))


def test_a_switch_of_the_file_is_put_back_by_its_opposite(tmp_path: Path) -> None:
    """Flags win in both directions."""
    path = config(tmp_path, 'model = "m"\ninput = "0"\ntrack = false\nloop = true\n')
    options = read_options(["--config", str(path), "--track", "--no-loop"])
    assert options.track
    assert not options.loop


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("scor = 0.5", "unknown key 'scor'; expected any of model, input, outputs"),
        ("score = 1.5", "score is 1.5; expected a number in 0..1"),
        ("score = true", "score is true; expected a number in 0..1"),
        ('score = "0.5"', "score is '0.5'; expected a number in 0..1"),
        ("score = nan", "score is nan; expected a number in 0..1"),
        ("threads = 2.5", "threads is 2.5; expected a whole number in 1..1024"),
        ("threads = 0", "threads is 0; expected a whole number in 1..1024"),
        ('loop = "yes"', "loop is 'yes'; expected true or false"),
        ('anchor = "head"', "anchor is 'head'; expected foot or centre"),
        ('pace = "slow"', "pace is 'slow'; expected real or fast"),
        ('outputs = "out.mp4"', "outputs is 'out.mp4'; expected a list of texts in quotes"),
        ("blur = [1]", "blur is [1]; expected a list of names in quotes"),
        ("state = 7", "state is 7; expected a path in quotes"),
        (
            "[[shapes]]\nname = 'a'\nkind = 'line'\npoints = [[0, 0]]",
            "the points of shape 'a' do not fit; expected 2 points",
        ),
        ("[mqtt]\nx = 1", "unknown key 'mqtt'"),
        ("score 0.5", "is not TOML"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(text: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(line)) as caught:
        read_options(["m.tflite", "0", "--config", str(config(tmp_path, text))])
    assert "config.toml" in str(caught.value)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "MODEL is not given"),
        (["m.tflite"], "INPUT is not given"),
        (["m.tflite", "0", "--score", "2"], "--score is 2; expected a number in 0..1"),
        (["m.tflite", "0", "--score", "high"], "--score is 'high'; expected a number in 0..1"),
        (["m.tflite", "0", "--threads", "1.5"], "--threads is 1.5; expected a whole number"),
        (["m.tflite", "0", "--anchor", "head"], "--anchor is 'head'; expected foot or centre"),
        (["m.tflite", "0", "--also-model", ""], "--also-model is ['']; expected a list of paths"),
        (["m.tflite", "0", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["m.tflite", "0", "--config", "absent.toml"], "absent.toml: no such file"),
    ],
)
def test_a_wrong_flag_is_named(arguments: list[str], line: str) -> None:
    with pytest.raises(InputError, match=re.escape(line)):
        read_options(arguments)


def test_every_setting_is_explained() -> None:
    """Once in the help text and once in the documentation."""
    text = parser().format_help()
    manual = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    for setting in SETTINGS:
        assert setting.flag_on in text or setting.flag_off in text
        assert setting.help
        assert f"`{setting.key}`" in manual


def test_the_example_of_the_manual_is_complete_and_right(tmp_path: Path) -> None:
    """It holds every key, commented out where it is the default."""
    manual = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    path = config(tmp_path, example)
    options = read_options(["--config", str(path)])
    assert [shape.kind for shape in options.shapes] == ["line", "zone"]
    for key in ("model", "input", "outputs", *(setting.key for setting in SETTINGS)):
        assert re.search(rf"^(# )?{key} = ", example, re.MULTILINE), key
    # What is commented out must be right as well.
    everything = re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE)
    assert read_options(["--config", str(config(tmp_path, everything))]).model == options.model
