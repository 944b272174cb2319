"""Every setting of the live app: once as a flag, once as a key of ``config.toml``, checked in one place."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.moment import Shape
from apps.scene.shapes import read_shapes
from runtime.commandline import THREADS_HELP, Parser
from runtime.errors import InputError
from runtime.files import read_text
from runtime.grammar import INPUTS, OUTPUTS

DEFAULT_OUTPUT = "http://127.0.0.1:8080"

_Check = Callable[[object], Any]
"""Returns the value, or raises ValueError with what is allowed."""


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        check: Takes what the configuration file holds; returns the value, raises ``ValueError`` with what is allowed.
        parse: Makes of a flag's text what a configuration file would hold.
        many: Whether a flag may be given again.
        metavar: What the help text shows.
    """

    check: _Check
    parse: Callable[[str], object] = str
    many: bool = False
    metavar: str = "X"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def _path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path in quotes")
    return Path(value).expanduser()


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(low: float, high: float, whole: bool = False) -> _Check:
    allowed = f"a {'whole ' if whole else ''}number in {low:g}..{high:g}"

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ValueError(allowed)
        if not low <= value <= high:
            raise ValueError(allowed)
        return value

    return check


def _choice(*allowed: str) -> _Check:
    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(allowed))
        return str(value)

    return check


def _list(item: _Check, what: str) -> _Check:
    def check(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"a list of {what}")
        try:
            return tuple(item(part) for part in value)
        except ValueError:
            raise ValueError(f"a list of {what}") from None

    return check


def _figure(text: str) -> object:
    """A number as the configuration file would hold it."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


SWITCH = Kind(_switch)
TEXT = Kind(_text, metavar="NAME")
PATH = Kind(_path, metavar="FILE")
FOLDER = Kind(_path, metavar="DIR")
SCORE = Kind(_number(0, 1), _figure, metavar="0..1")
SECONDS = Kind(_number(0.1, 1e9), _figure, metavar="S")
COUNT = Kind(_number(1, 1024, whole=True), _figure, metavar="N")
MILLISECONDS = Kind(_number(1, 60_000), _figure, metavar="MS")
MEGABYTES = Kind(_number(1, 1e9, whole=True), _figure, metavar="MB")
RATE = Kind(_number(0.1, 1000), _figure, metavar="FPS")
NAMES = Kind(_list(_text, "names in quotes"), _names, metavar="A,B")
TEXTS = Kind(_list(_text, "texts in quotes"), many=True, metavar="URI")
PATHS = Kind(_list(_path, "paths in quotes"), many=True, metavar="FILE")
ANCHOR = Kind(_choice("foot", "centre"), metavar="foot|centre")
PACE = Kind(_choice("real", "fast"), metavar="real|fast")


@dataclass(frozen=True)
class Setting:
    """One setting; the flag is its key with dashes.

    Attributes:
        key: In the configuration file.
        kind: Of its value.
        help: For ``--help``.
        default: Where neither the flag nor the key is given.
        group: Heading in the help text.
        flag: Spelling where it is not that of the key.
    """

    key: str
    kind: Kind
    help: str
    default: Any = None
    group: str = "finding"
    flag: str = ""

    @property
    def flag_on(self) -> str:
        """The flag."""
        return self.flag or f"--{self.key.replace('_', '-')}"

    @property
    def flag_off(self) -> str:
        """A switch's opposite."""
        return f"--no-{self.key.replace('_', '-')}"


SETTINGS = (
    Setting("score", SCORE, "lowest score to show (default: the model's)"),
    Setting("classes", NAMES, "show and count these classes only"),
    Setting("threads", COUNT, THREADS_HELP),
    Setting("labels", PATH, "class names, one per line, instead of the model's"),
    Setting("also_models", PATHS, "another model to change to on the page; may be repeated", (), flag="--also-model"),
    Setting("also_sources", TEXTS, "another INPUT to change to; may be repeated", (), flag="--also-source"),
    Setting("loop", SWITCH, "start a video or folder again when it ends", False, "time"),
    Setting("wait", SWITCH, "wait for a camera that is not there yet instead of ending", False, "time"),
    Setting("seconds", SECONDS, "stop after so long", None, "time"),
    Setting("pace", PACE, "a video at its own speed (default with the live page), or no frame left out", None, "time"),
    Setting("max_fps", RATE, "look at no more frames of a camera a second", None, "time"),
    Setting("deadline_ms", MILLISECONDS, "do less when results take longer than this", None, "time", "--deadline"),
    Setting("small_model", PATH, "a faster model for when the board cannot keep up", None, "time"),
    Setting("governor", SWITCH, "never do less, however hot the board is", True, "time"),
    Setting("track", SWITCH, "do not follow objects: no ids, lines or zones", True, "counting"),
    Setting("smooth", SWITCH, "show every frame of a camera that is faster, with predicted boxes", False, "counting"),
    Setting("anchor", ANCHOR, "what stands for an object: middle of its lower edge, or its centre", "foot", "counting"),
    Setting("dwell", SECONDS, "tell when an object stays longer in a zone", None, "counting"),
    Setting("state", PATH, "keep lines, zones and counts in this file over a restart", None, "counting"),
    Setting("media", FOLDER, "keep recordings, event clips and snapshots in this folder", None, "keeping"),
    Setting("quota_mb", MEGABYTES, "most megabytes of all of them; the oldest go first", 2000, "keeping", "--quota"),
    Setting("keep_free_mb", MEGABYTES, "megabytes of the disk that stay free", 100, "keeping", "--keep-free"),
    Setting("record", SWITCH, "record from the start; the page starts and stops it too", False, "keeping"),
    Setting("record_boxes", SWITCH, "record the picture without boxes", True, "keeping"),
    Setting("record_fps", RATE, "frames a second of recordings, at most", 30.0, "keeping"),
    Setting("segment_s", SECONDS, "seconds per file of a recording", 60.0, "keeping", "--segment"),
    Setting("clips", SWITCH, "no clips of events", True, "keeping"),
    Setting("clip_before_s", SECONDS, "seconds of a clip before the event", 5.0, "keeping", "--clip-before"),
    Setting("clip_after_s", SECONDS, "seconds of a clip after the event", 5.0, "keeping", "--clip-after"),
    Setting("token_file", PATH, "holds the token that viewers need; made where it is missing", None, "sending"),
    Setting("mqtt_password_file", PATH, "holds the MQTT password (or EDGEWREN_MQTT_PASSWORD does)", None, "sending"),
    Setting("webhooks", TEXTS, "post each event as JSON to this URL; may be repeated", (), "sending", "--webhook"),
    Setting("blur", NAMES, "make objects of these classes unrecognisable everywhere", (), "sending"),
)


@dataclass(frozen=True)
class Options:
    """What was chosen: :data:`SETTINGS` by key, and the rest.

    Attributes:
        model: The ``.tflite`` file.
        input: Where frames come from.
        outputs: Where results go.
        shapes: Lines and zones of the configuration.
        values: All settings by key.
    """

    model: Path
    input: str
    outputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    values: Mapping[str, Any]

    def __getattr__(self, key: str) -> Any:
        try:
            return self.values[key]
        except KeyError:
            raise AttributeError(key) from None


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m apps.live",
        description="Find and follow objects in a camera, a video or images; show, count, record and send them.",
        epilog=f"Without OUTPUT the live page is served on {DEFAULT_OUTPUT}. Ctrl-C stops and completes files. "
        "docs/live.md describes all of it.",
    )
    made.add_argument("model", nargs="?", metavar="MODEL", help="a .tflite detector")
    made.add_argument("input", nargs="?", metavar="INPUT", help=INPUTS)
    outputs = f"http://HOST:PORT (live page), display://0 (window), mqtt://HOST/TOPIC, {OUTPUTS}"
    made.add_argument("outputs", nargs="*", metavar="OUTPUT", help=outputs)
    made.add_argument("--config", metavar="FILE", help="settings in a TOML file; flags come before it")
    groups = {setting.group: made.add_argument_group(setting.group) for setting in SETTINGS}
    for setting in SETTINGS:
        group = groups[setting.group]
        if setting.kind is SWITCH:
            _add_switch(group, setting)
        else:
            action = "append" if setting.kind.many else "store"
            metavar = setting.kind.metavar
            group.add_argument(setting.flag_on, dest=setting.key, action=action, metavar=metavar, help=setting.help)
    return made


def _add_switch(group: argparse._ArgumentGroup, setting: Setting) -> None:
    """Both directions, so that a flag can take back what the configuration file says; the useful one is explained."""
    for flag, value in ((setting.flag_on, True), (setting.flag_off, False)):
        text = argparse.SUPPRESS if value is setting.default else setting.help
        group.add_argument(flag, dest=setting.key, action="store_const", const=value, help=text)


def read_options(argv: Sequence[str]) -> Options:
    """The command line, and the configuration file it names, checked.

    Raises:
        InputError: One line that names the flag or key, and what is allowed.
    """
    given = vars(parser().parse_intermixed_args(argv))
    path = given.pop("config")
    data = _read(Path(path)) if path else {}
    model = _checked("model", PATH, given["model"]) if given["model"] else data.get("model")
    source = given["input"] or data.get("input")
    if not model or not source:
        missing = "MODEL" if not model else "INPUT"
        raise InputError(
            f"python -m apps.live: {missing} is not given", "", "python -m apps.live --help shows what it takes"
        )
    values = {setting.key: _value(setting, given[setting.key], data) for setting in SETTINGS}
    outputs = tuple(given["outputs"]) or data.get("outputs") or (DEFAULT_OUTPUT,)
    return Options(model, source, outputs, data.get("shapes", ()), values)


def _value(setting: Setting, flag: Any, data: Mapping[str, Any]) -> Any:
    if flag is None:
        return data.get(setting.key, setting.default)
    if setting.kind is SWITCH:
        return flag
    try:
        value = flag if setting.kind.many else setting.kind.parse(flag)
    except ValueError:
        value = flag
    return _checked(setting.flag_on, setting.kind, value)


def _checked(name: str, kind: Kind, value: object) -> Any:
    try:
        return kind.check(value)
    except ValueError as error:
        raise InputError(f"{name} is {_shown(value)}", f"expected {error}") from None


def _read(path: Path) -> dict[str, Any]:
    """A configuration file: checked values by key."""
    import tomllib

    try:
        data = tomllib.loads(read_text(path, "a TOML file of settings"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML ({error})", "expected key = value", "see docs/live.md") from None
    kinds = {
        "model": PATH,
        "input": TEXT,
        "outputs": TEXTS,
        "shapes": Kind(lambda value: value),
        **{setting.key: setting.kind for setting in SETTINGS},
    }
    values = {}
    for key, value in data.items():
        if key not in kinds:
            raise InputError(f"{path}: unknown key {key!r}", f"expected any of {', '.join(kinds)}", "see docs/live.md")
        values[key] = _read_shapes(path, value) if key == "shapes" else _checked(f"{path}: {key}", kinds[key], value)
    return values


def _read_shapes(path: Path, value: object) -> tuple[Shape, ...]:
    try:
        return read_shapes(value)
    except InputError as error:
        raise InputError(f"{path}: {error.seen}", error.expected, error.action) from None


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
