"""The Makefile on machines that lack something, and the promises of the text files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and what it reads, without any environment."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "convert" / "recipes").mkdir(parents=True)
    return tmp_path


def make(checkout: Path, python: str, *targets: str) -> subprocess.CompletedProcess[str]:
    """Runs make where ``python3`` is a script and nothing else of that kind exists."""
    tools = checkout / "tools"
    tools.mkdir()
    for tool in ("sh", "make", "echo", "grep", "sed", "head", "touch", "rm", "uname", "expand"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    (tools / "python3").write_text(f"#!/bin/sh\n{python}\n")
    (tools / "python3").chmod(0o755)
    environment = {"PATH": str(tools), "HOME": str(checkout)}
    return subprocess.run(
        ["make", *targets], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_no_venv_names_the_package(checkout: Path) -> None:
    done = make(checkout, 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    assert done.returncode == 2
    line = done.stderr.splitlines()[0]
    assert line.startswith("error: python3 cannot make environments; ")
    assert line.endswith("sudo apt install python3-venv")


def test_old_python_says_which_one_it_wants(checkout: Path) -> None:
    done = make(checkout, "exit 1")
    assert done.returncode == 2
    line = done.stderr.splitlines()[0]
    assert line.startswith("error: no Python 3.11, 3.12 or 3.13 found")
    assert "make PYTHON=" in line


def test_packages_that_cannot_be_had_are_one_line(checkout: Path) -> None:
    (checkout / "fake-pip").write_text("#!/bin/sh\necho 'ERROR: No matching distribution'\nexit 1\n")
    (checkout / "fake-pip").chmod(0o755)
    script = 'if [ "$2" = venv ]; then /bin/mkdir -p .venv/bin; /bin/cp fake-pip .venv/bin/python; fi; exit 0'
    done = make(checkout, script)
    assert done.returncode == 2
    assert "setting up: installing edgewren[convert]" in done.stdout
    assert "ERROR: No matching distribution" in done.stderr
    assert "expected access to the Python package index" in done.stderr
    assert not (checkout / ".venv" / ".ready-convert").exists()


def test_eval_without_data_says_what_to_type(checkout: Path) -> None:
    done = make(checkout, "exit 0", "eval")
    assert done.returncode == 2
    assert "DATA is empty" in done.stderr
    assert "make eval DATA=dir" in done.stderr


def test_help_lists_every_target(checkout: Path) -> None:
    done = make(checkout, "exit 0", "help")
    assert done.returncode == 0
    for target in ("models", "live", "eval", "bench", "test", "lint", "clean"):
        assert re.search(rf"^  make {target}\s+\w", done.stdout, re.MULTILINE)


def test_pins_stand_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"device", "convert", "dev"} <= set(extras)
    assert not any("tensorflow" in requirement for requirement in extras["device"])
    for line in (line for extra in extras.values() for line in extra if "edgewren" not in line):
        assert "==" in line or line.startswith(("flatbuffers", "h5py")), line


def test_the_desktop_is_the_device_with_another_opencv() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    device = [line.replace("opencv-python-headless", "opencv-python") for line in extras["device"]]
    assert extras["desktop"] == device != extras["device"]


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", ".ci/run"])
def test_front_door_is_complete(name: str) -> None:
    assert (ROOT / name).stat().st_size > 100


MARKDOWN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_commands_in_the_text_exist(path: Path) -> None:
    """Every ``python -m`` line names a command and flags the programs know; every ``make`` line a target."""
    from convert.cli import main as convert
    from runtime.cli import main as runtime

    text = path.read_text()
    for program, command, rest in re.findall(r"python -m (convert|runtime) ([a-z]+)([^\n`|]*)", text):
        main = {"convert": convert, "runtime": runtime}[program]
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0, f"{program} {command}"
        known = help_text(program, command)
        for flag in re.findall(r"--[a-z-]+", rest):
            assert flag in known, f"{program} {command} {flag}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^|`)make ([a-z-]+)\b(?!=)", text, re.MULTILINE):
        assert target in targets, target


def help_text(program: str, command: str) -> str:
    import sys

    done = subprocess.run(
        [sys.executable, "-m", program, command, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300"},
        check=True,
    )
    return done.stdout
