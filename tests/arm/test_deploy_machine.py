"""From nothing to the live page on a whole ARM machine, and all the ways back."""

from __future__ import annotations

import subprocess
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.arm.boards import Machine
from tests.conftest import run_module
from tests.convert.boards import until

pytestmark = pytest.mark.machine


def deploy(machine: Machine, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """``python -m deploy command`` against the machine."""
    return run_module("deploy", command, machine.address, "--ssh-config", machine.config, *arguments, timeout=900)


def page(machine: Machine) -> int:
    """Status of the page, through the forwarded port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{machine.page}/healthz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def current(machine: Machine) -> str:
    return machine.ssh("basename $(readlink /opt/edgewren/current)").stdout.strip()


def test_a_deployment_from_beginning_to_end(machine: Machine, tiny_model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    for path in (first, second):
        path.write_bytes(tiny_model.read_bytes())
    with zipfile.ZipFile(second, "a") as archive:
        archive.comment = b"second"

    done = deploy(machine, "install", "--model", first)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "live page: http://127.0.0.1:8080/" in done.stdout
    assert page(machine) in (200, 404)
    old = current(machine)

    done = deploy(machine, "install", "--model", second)
    assert done.returncode == 0, done.stdout + done.stderr
    new = current(machine)
    assert new != old

    done = deploy(machine, "install", "--model", first, "--source", "/nothing.mp4")
    assert done.returncode == 1
    assert f"rolled back to {new}" in done.stderr
    assert current(machine) == new

    done = deploy(machine, "rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert current(machine) == old

    machine.stop()
    machine.start()
    until(lambda: page(machine) in (200, 404), "no page after the power cut", 120)

    done = deploy(machine, "undeploy")
    assert "nothing of Edgewren is left" in done.stdout
    assert machine.ssh("sudo find /etc /opt /var/lib /home /run -iname '*edgewren*'").stdout == ""
