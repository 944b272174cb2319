"""Stopwatches: this machine measured directly and as a board behind a real sshd, and all that goes wrong there."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convert.stopwatch import DeviceStopwatch, LocalStopwatch, Stopwatch, device
from convert.stopwatch.address import Address
from runtime.board import cpu_name
from runtime.errors import EdgewrenError, InputError, RunError
from tests.conftest import ROOT
from tests.convert.boards import Board, command_lines
from tests.foreign_nets import ForeignNet
from tests.waiting import until

# Longer than any test waits: what still runs then was not stopped.
_ENDLESS = 10_000_000


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board that is not on yet."""
    (tmp_path / "board").mkdir()
    board = Board(tmp_path / "board")
    yield board
    board.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Networks without a card, the second with 256 times as much work."""
    return [chain(tmp_path_factory.mktemp("nets") / f"{size}.tflite", size) for size in (16, 256)]


def chain(path: Path, size: int) -> bytes:
    net = ForeignNet((size, size))
    tensor = net.picture
    for at in range(4):
        after = net.tensor(f"step{at}", (1, size, size, 3))
        net.op("LOGISTIC", [tensor], [after])
        tensor = after
    net.graph.outputs = [tensor]
    return net.write(path).read_bytes()


def connect(board: Board, python: str | None = sys.executable, runs: int = 20) -> DeviceStopwatch:
    return DeviceStopwatch(board.address, runs=runs, python=python, ssh_config=board.config)


def test_board_agrees_with_this_machine(board: Board, files: list[bytes]) -> None:
    board.start()
    # Login scripts that print something are common.
    (board.home / ".bashrc").write_text("echo welcome\n")
    stopwatch = connect(board)
    watches: list[Stopwatch] = [stopwatch, LocalStopwatch(runs=20)]
    for watch in watches:
        small, large, again = watch.time([*files, files[0]])
        assert small.slowdown == 0
        assert large.ms > 2 * small.ms > 0
        assert large.slowdown > 100 > again.slowdown
        (_, other) = watch.time(files[::-1])
        assert other.slowdown < -50
        assert watch.name.startswith(f"{cpu_name()}, litert ")
        assert watch.name.endswith(", 1 thread")
    assert board.connections() == 1
    board.check_clean()
    stopwatch.close()


def test_ops_of_a_board(board: Board, files: list[bytes]) -> None:
    """The same ops as here, each with a time."""
    board.start()
    found, here = connect(board).by_op(files[1]), LocalStopwatch().by_op(files[1])
    assert sorted(found) == sorted(here) == [f"step{at}" for at in range(4)]
    assert all(ms > 0 for ms in found.values())
    board.check_clean()


def test_threads_are_named_and_used(board: Board, files: list[bytes]) -> None:
    board.start()
    stopwatch = DeviceStopwatch(board.address, 2, runs=1, python=sys.executable, ssh_config=board.config)
    assert stopwatch.name.endswith(", 2 threads")
    assert len(stopwatch.time(files)) == 2


def test_nothing_stays_on_this_machine(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sockets and folders of the connection nor ssh itself. Sockets need a short path."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        stopwatch = connect(board.start())
        (own,) = Path(folder).iterdir()
        assert (own / "s").is_socket()
        assert any(str(own) in line for line in command_lines())
        # The end of a program may come when its surroundings have changed.
        monkeypatch.setenv("PATH", folder)
        stopwatch.close()
        assert list(Path(folder).iterdir()) == []
        until(lambda: not any(str(own) in line for line in command_lines()), "ssh still runs")


def test_long_temporary_folder_does_without_sharing(
    board: Board, files: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a socket is limited; so are its characters in ssh's configuration."""
    here = tmp_path / f"with space {'x' * 100}"
    here.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(here))
    board.start()
    assert connect(board).time(files[:1])[0].ms > 0
    assert board.connections() == 2


@pytest.mark.parametrize(
    ("text", "login", "port", "known_as"),
    [
        ("pi@raspberrypi.local", "pi@raspberrypi.local", None, "raspberrypi.local"),
        ("board-7", "board-7", None, "board-7"),
        ("pi@10.0.0.7:2222", "pi@10.0.0.7", 2222, "'[10.0.0.7]:2222'"),
        ("pi@[fe80::1%wlan0]:22", "pi@fe80::1%wlan0", 22, "fe80::1%wlan0"),
    ],
)
def test_addresses(text: str, login: str, port: int | None, known_as: str) -> None:
    address = Address.parse(text)
    assert (address.login, address.port, address.known_as) == (login, port, known_as)


@pytest.mark.parametrize(
    "text",
    [
        *("", "-oProxyCommand=touch hacked", "pi@-oProxyCommand=x", "-l@host", "pi@", "@host", "pi@host:", "pi@host:0"),
        *("pi@host:65536", "pi@host; reboot", "pi@ho st", "pi@host\n", "$(id)", "pi@host/x", "a@b@c", "fe80::1", "é"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError) as caught:
        DeviceStopwatch(text)
    assert caught.value.line().startswith("error: board ")
    assert "is not an address; expected user@host or user@host:port; " in caught.value.line()


@pytest.mark.parametrize(("name", "counts"), [("threads", {"threads": 0}), ("runs", {"runs": 0})])
def test_counts(name: str, counts: dict[str, int]) -> None:
    for make in (LocalStopwatch, lambda **given: DeviceStopwatch("pi@board", **given)):
        with pytest.raises(InputError, match=rf"^{name} is 0; expected at least 1"):
            make(**counts)


def failure(board: Board, kind: type[EdgewrenError], python: str | None = sys.executable) -> str:
    """The one line of a board that cannot be used; nothing may stay there."""
    with pytest.raises(EdgewrenError) as caught:
        connect(board, python)
    assert type(caught.value) is kind
    board.check_clean()
    return caught.value.line()


def test_unknown_host(board: Board) -> None:
    board.address = "pi@no-such-board.invalid"
    line = failure(board, InputError)
    assert line.startswith("error: pi@no-such-board.invalid is not known (ssh: Could not resolve hostname ")
    assert line.endswith("; check its name, or give its address")


def test_unreachable(board: Board) -> None:
    line = failure(board, InputError)
    assert line.startswith(
        f"error: {board.address} cannot be reached (ssh: connect to host 127.0.0.1 port {board.port}"
    )
    assert line.endswith("expected a board that is on and has ssh enabled; check its power, network and address")


def test_key_refused(board: Board) -> None:
    board.start()
    board.config = board.client_config("other", board.host_key, board.make_key("other"))
    line = failure(board, InputError)
    login, _, port = board.address.rpartition(":")
    assert line.startswith(f"error: {board.address} refuses this user's key ({login}: Permission denied (publickey).)")
    assert line.endswith(f"; expected a login without a password; ssh-copy-id -p {port} {login}")


def test_unknown_host_key(board: Board) -> None:
    board.start()
    board.config = board.client_config("other", None, board.key)
    login, _, port = board.address.rpartition(":")
    assert failure(board, InputError) == (
        f"error: {board.address} has a host key that is not known here; expected a board this user has met; "
        f"type ssh -p {port} {login} and compare the fingerprint"
    )


def test_wrong_host_key(board: Board) -> None:
    board.start()
    board.config = board.client_config("other", board.make_key("another-host"), board.key)
    login, _, port = board.address.rpartition(":")
    assert failure(board, InputError) == (
        f"error: {board.address} has another host key than before; expected the same board; "
        f"if it was set up anew: ssh-keygen -R '[127.0.0.1]:{port}', then ssh -p {port} {login}"
    )


def test_a_server_of_another_kind(board: Board) -> None:
    """Something else listens on the port, and says nothing ssh understands."""
    with socket.create_server(("127.0.0.1", board.port)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        line = failure(board, InputError)
        thread.join()
    assert line.startswith(f"error: {board.address}: ssh failed (")


def test_account_without_a_shell(board: Board) -> None:
    """The session never begins, but ssh is content."""
    board.start()
    with board.settings.open("a") as settings:
        settings.write("ForceCommand echo This account is not available >&2; exit 1\n")
    board.restart()
    line = failure(board, InputError)
    assert line.startswith(f"error: {board.address} runs no commands (This account is not available); ")


def test_no_ssh_here(board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert failure(board, InputError) == (
        "error: there is no ssh on this machine; expected OpenSSH; sudo apt install openssh-client"
    )


def test_no_configuration(board: Board, tmp_path: Path) -> None:
    board.config = tmp_path / "absent"
    assert failure(board, InputError).startswith(f"error: {tmp_path / 'absent'}: no such file; ")


NEEDED = "expected Python 3.11 or newer with NumPy and a TFLite runtime"
IN_ITS_OWN = "there: python3 -m venv ~/edgewren/.venv && ~/edgewren/.venv/bin/pip install ai-edge-litert numpy"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No release is deployed, even where this machine has one."""
    monkeypatch.setattr(device, "INTERPRETERS", device.INTERPRETERS[1:])


@pytest.mark.usefixtures("plain")
def test_no_python(board: Board) -> None:
    board.start()
    assert failure(board, InputError, python=None) == (
        f"error: {board.address} has no Python (~/edgewren/.venv/bin/python, python3); {NEEDED}; {IN_ITS_OWN}"
    )


@pytest.mark.usefixtures("plain")
def test_no_numpy(board: Board) -> None:
    board.script(board.tools / "python3", f'exec {sys.executable} -S "$@"')
    line = failure(board.start(), InputError, python=None)
    assert line.startswith(f"error: {board.address}: python3 (Python 3.")
    assert line.endswith(f"): No module named 'numpy'; {NEEDED}; {IN_ITS_OWN}")


def only_numpy(board: Board, path: Path) -> None:
    """A Python that has NumPy but no TFLite runtime."""
    site, packages = Path(sysconfig.get_paths()["purelib"]), board.home / "packages"
    packages.mkdir()
    for name in ("numpy", "numpy.libs"):
        if (site / name).exists():
            (packages / name).symlink_to(site / name)
    board.script(path, f'PYTHONPATH=$PYTHONPATH:{packages} exec {sys.executable} -S "$@"')


@pytest.mark.usefixtures("plain")
def test_no_tflite_runtime(board: Board) -> None:
    only_numpy(board, board.tools / "python3")
    line = failure(board.start(), InputError, python=None)
    assert line.startswith(f"error: {board.address}: python3 (Python 3.")
    assert "): no TensorFlow Lite interpreter (ai-edge-litert: No module named 'ai_edge_litert'; " in line
    assert line.endswith(f"{NEEDED}; {IN_ITS_OWN}")


@pytest.mark.usefixtures("plain")
def test_the_first_interpreter_that_has_everything(board: Board, files: list[bytes]) -> None:
    """One that lacks something is passed over; of several that do, the first is told."""
    only_numpy(board, board.home / "edgewren" / ".venv" / "bin" / "python")
    assert failure(board.start(), InputError, python=None).endswith(
        f"; {NEEDED}; there: ~/edgewren/.venv/bin/python -m pip install ai-edge-litert numpy"
    )
    board.script(board.tools / "python3", f'exec {sys.executable} "$@"')
    stopwatch = connect(board, python=None)
    assert stopwatch.python == "python3"
    assert len(stopwatch.time(files)) == 2
    board.script(board.home / "edgewren" / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    assert connect(board, python=None).python == "~/edgewren/.venv/bin/python"


def test_old_python(board: Board) -> None:
    """This Python, which takes itself for an older one."""
    old = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[2])"
    python = board.script(board.tools / "old", f'exec {sys.executable} -c "{old}" "$@"')
    line = failure(board.start(), InputError, str(python))
    assert line.startswith(f"error: {board.address}: {python} (Python 3.9, ")
    assert f"): it is too old; {NEEDED}; " in line


def test_packages_for_32_bits(board: Board) -> None:
    """This Python, which takes itself for one of a 32-bit system."""
    narrow = "import struct, sys; struct.calcsize = lambda _: 4; sys.modules['numpy'] = None; exec(sys.argv[2])"
    python = board.script(board.tools / "narrow", f'exec {sys.executable} -c "{narrow}" "$@"')
    line = failure(board.start(), InputError, str(python))
    assert ", 32 bits on " in line
    assert line.endswith(f"there: {python} -m pip install tflite-runtime 'numpy<2'")


def test_python_for_another_processor(board: Board) -> None:
    """A program whose header says it is for a processor that nobody has."""
    foreign = board.tools / "foreign"
    data = bytearray(Path("/bin/true").read_bytes())
    data[18:20] = b"\xfe\xfe"
    foreign.write_bytes(data)
    foreign.chmod(0o755)
    line = failure(board.start(), InputError, str(foreign))
    assert line.startswith(f"error: {board.address}: {foreign} does not run (")
    assert "; expected a Python and packages for this board's processor; " in line


def test_packages_for_another_processor(board: Board) -> None:
    """They end the interpreter as soon as they are loaded."""
    python = board.script(board.tools / "crashing", f"kill -{int(signal.SIGILL)} $$")
    line = failure(board.start(), InputError, str(python))
    assert line.startswith(f"error: {board.address}: {python} does not run (ended by signal {int(signal.SIGILL)}); ")


@pytest.mark.parametrize(
    "python", ["x; touch {}", "$(touch {})", "`touch {}`", "'; touch {}; '", "-c 'touch {}'", "-c"]
)
def test_interpreter_is_one_word(board: Board, python: str) -> None:
    (board.tools / "touch").symlink_to(shutil.which("touch") or "touch")
    made = board.home / "made"
    line = failure(board.start(), InputError, python.format(made))
    assert line.startswith(f"error: {board.address} has no Python ({python.format(made)}); ")
    assert not made.exists()


@pytest.mark.parametrize("python", ["", "a\nb", "a\0b"])
def test_what_is_no_interpreter(board: Board, python: str) -> None:
    assert failure(board, InputError, python).startswith("error: interpreter ")


def test_full_disk(board: Board) -> None:
    """The board's tar writes to where there is no room."""
    tar = board.tools / "tar"
    board.script(tar, f"exec {shutil.which('tar')} \"$@\" --to-command='cat > /dev/full'")
    line = failure(board.start(), RunError)
    assert line.startswith(f"error: {board.address} has no space for the files (")
    assert line.endswith("; expected room in its temporary folder; free disk space there and retry")


def test_no_temporary_folder(board: Board) -> None:
    line = failure(board.start(TMPDIR=board.home / "absent"), RunError)
    assert line.startswith(f"error: {board.address} has no place for the files (mktemp: ")


def test_a_file_that_is_no_model(board: Board, files: list[bytes]) -> None:
    stopwatch = connect(board.start())
    with pytest.raises(RunError) as caught:
        stopwatch.time([files[0], b"nothing of that kind"])
    assert caught.value.line().startswith(
        f"error: {board.address}: the measurement failed (1.tflite is not a TensorFlow Lite file; "
    )
    board.check_clean()
    assert stopwatch.time(files[:1])[0].ms > 0


def test_throttled_board(board: Board, files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A Raspberry Pi's tool says that heat caps the frequency, but only the third time it is asked."""
    count = board.home / "asked"
    board.script(
        board.tools / "vcgencmd",
        f"echo >> {count}\nset -- $(cat {count} | wc -l)\n[ $1 = 3 ] && echo throttled=0x2 || echo throttled=0x0",
    )
    (board.tools / "wc").symlink_to(shutil.which("wc") or "wc")
    stopwatch = connect(board.start())
    monkeypatch.setenv("PATH", str(board.tools), prepend=os.pathsep)
    for watch in (stopwatch, LocalStopwatch(runs=20)):
        count.write_text("")
        with pytest.raises(RunError) as caught:
            watch.time(files)
        assert caught.value.line().startswith(f"error: {watch.name}: throttled while it measured (heat or ")
        count.write_text("\n" * 3)
        assert len(watch.time(files)) == 2


def test_connection_lost_half_way(board: Board, files: list[bytes]) -> None:
    stopwatch = connect(board.start(), runs=_ENDLESS)
    caught: list[EdgewrenError] = []

    def measure() -> None:
        try:
            stopwatch.time(files)
        except EdgewrenError as error:
            caught.append(error)

    # What is not stopped, as it should be, must not keep the tests from ending.
    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    until(lambda: measuring(board), "the measurement does not begin")
    board.cut()
    thread.join(20)
    assert not thread.is_alive()
    (error,) = caught
    assert type(error) is RunError
    assert error.line().startswith(f"error: {board.address}: connection lost while it measured (")
    board.check_clean()


def measuring(board: Board) -> bool:
    """Whether a measurement, not only the look for Python, runs on the board; its session's shell comes before."""
    return any("--inference-only" in each and not each.startswith("sh\0") for each in board.leftovers())


def beginning(board: Board) -> bool:
    """Whether a measurement's session has begun."""
    return any("--inference-only" in each for each in board.leftovers())


@pytest.mark.parametrize("when", [beginning, measuring])
def test_interrupt_stops_the_board(
    board: Board, files: list[bytes], tmp_path: Path, when: Callable[[Board], bool]
) -> None:
    (tmp_path / "net.tflite").write_bytes(files[0])
    program = (
        "import pathlib, signal, sys; from convert.stopwatch import DeviceStopwatch;"
        # Whoever runs the tests in the background lets them ignore interrupts.
        "signal.signal(signal.SIGINT, signal.default_int_handler); address, config, net = sys.argv[1:];"
        f"watch = DeviceStopwatch(address, runs={_ENDLESS}, python=sys.executable, ssh_config=pathlib.Path(config));"
        "watch.time([pathlib.Path(net).read_bytes()])"
    )
    arguments = [board.start().address, str(board.config), str(tmp_path / "net.tflite")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as running:
        until(lambda: when(board), "the measurement does not begin")
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    board.check_clean()


def test_board_that_was_there_and_is_gone(board: Board, files: list[bytes]) -> None:
    """Its address is right: nothing the user typed is to blame."""
    stopwatch = connect(board.start())
    board.stop()
    with pytest.raises(RunError, match=r"cannot be reached .*; expected a board that is on"):
        stopwatch.time(files)
