"""Debian's packages for another processor or release, through the mirror that this machine's own apt uses."""

from __future__ import annotations

import subprocess
from pathlib import Path

_FIELDS = "$(LABEL)\t$(REPO_URI)"


def mirror() -> list[str]:
    """The address of the Debian archive in this machine's apt sources; none where there is none."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages"], capture_output=True, text=True
    ).stdout
    for line in listed.splitlines():
        label, _, address = line.partition("\t")
        if label == "Debian":
            return [address]
    return []


def unpack(suite: str, architecture: str, packages: list[str], target: Path) -> None:
    """Unpacks packages and what they depend on, without running any of their scripts.

    Under emulation those scripts would take minutes; what they would have done is written by hand.

    Raises:
        subprocess.CalledProcessError: The mirror is out of reach or lacks a package.
    """
    settings = target.with_name(f"{target.name}.apt")
    settings.write_text(_network_settings() + 'Acquire::Languages "none";\n')
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--architectures={architecture}"]
    command += [f"--include={','.join(packages)}", f"--aptopt={settings}", suite, str(target), *mirror()]
    try:
        subprocess.run(command, check=True)
    finally:
        settings.unlink()


def _network_settings() -> str:
    """This machine's proxies, certificates and time limits of apt."""
    lines = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    return "".join(f"{line}\n" for line in lines.splitlines() if "IndexTargets" not in line and "Languages" not in line)
