"""The parts of a release in the store, each named by its content and made once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import venv
import zipfile
from pathlib import Path

from deploy.board.bundle import Bundle, Manifest, sha256
from deploy.board.layout import PYTHON, RELEASES, STORE, building, discard, is_complete, link, releases
from deploy.board.steps import BoardError, step


def packages_folder(manifest: Manifest) -> Path:
    """Where the packages of others are."""
    return STORE / f"packages-{manifest.packages}"


def code_folder(manifest: Manifest) -> Path:
    """Where runtime and apps are."""
    return STORE / f"code-{manifest.code}"


def model_folder(manifest: Manifest) -> Path:
    """Where the model is."""
    return STORE / f"model-{manifest.model[:16]}"


def prepare(bundle: Bundle, manifest: Manifest) -> bool:
    """Makes what is not there yet: packages, code, model, release. Nothing that runs is touched.

    Returns:
        Whether anything had to be made.

    Raises:
        BoardError: A part is missing or has another content than it should, or pip refused.
    """
    made = _packages(bundle, manifest)
    step("packages")
    made |= _code(bundle, manifest)
    step("code")
    made |= _model(bundle, manifest)
    step("model")
    made |= _release(bundle, manifest)
    step("release")
    return made


def prune(kept: int, always: set[str]) -> list[str]:
    """Removes old releases and what only they used.

    Args:
        kept: So many stay, the newest, and those in ``always`` among them.
        always: Ids that stay.

    Returns:
        Ids of the releases that went.
    """
    known = releases()
    stay = {name for name in known if name in always}
    for name in reversed(known):
        if len(stay) < kept:
            stay.add(name)
    gone = [name for name in known if name not in stay]
    for folder in RELEASES.glob("*"):
        if folder.name not in stay:
            discard(folder)
    used = {part.name for name in stay for part in _parts_of(RELEASES / name)}
    for folder in STORE.glob("*"):
        if folder.name not in used:
            discard(folder)
    return gone


def _parts_of(release: Path) -> list[Path]:
    from deploy.board.bundle import read_manifest

    manifest = read_manifest((release / "release.json").read_text())
    return [packages_folder(manifest), code_folder(manifest), model_folder(manifest)]


def _packages(bundle: Bundle, manifest: Manifest) -> bool:
    folder = packages_folder(manifest)
    if is_complete(folder):
        return False
    _need(bundle, "packages/", "packages")
    with building(folder):
        _environment(folder, bundle, "packages", manifest.system_packages, _pip(bundle, folder))
    return True


def _code(bundle: Bundle, manifest: Manifest) -> bool:
    folder = code_folder(manifest)
    if is_complete(folder):
        return False
    _need(bundle, "code/", "code")
    packages = packages_folder(manifest)
    with building(folder):
        _environment(folder, bundle, "code", manifest.system_packages, _pip(bundle, packages))
        others = next(packages.glob("lib/python*/site-packages"))
        (next(folder.glob("lib/python*/site-packages")) / "packages.pth").write_text(f"{others}\n")
    return True


def _model(bundle: Bundle, manifest: Manifest) -> bool:
    folder = model_folder(manifest)
    if is_complete(folder):
        return False
    _need(bundle, "model/", "model")
    with building(folder):
        bundle.unpack("model/", folder)
        if sha256(folder / manifest.model_name) != manifest.model:
            raise BoardError(f"{manifest.model_name} has another content than it had on the host; deploy again")
    return True


def _release(bundle: Bundle, manifest: Manifest) -> bool:
    folder = RELEASES / manifest.id
    if is_complete(folder):
        return False
    with building(folder):
        for part in ("release.json", "smoke.png"):
            bundle.unpack(part, folder)
        (folder / "edgewren.service").write_text(manifest.unit)
        link(folder / ".venv", f"../../store/{code_folder(manifest).name}")
        # The same model may have come under another name before.
        stored = next(model_folder(manifest).glob("[!.]*"))
        link(folder / manifest.model_name, f"../../store/{stored.parent.name}/{stored.name}")
    return True


def _environment(folder: Path, bundle: Bundle, part: str, system_packages: bool, pip: Path) -> None:
    """An environment with exactly the wheels of a part, each compared with its hash."""
    venv.EnvBuilder(system_site_packages=system_packages, symlinks=True, with_pip=False).create(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheels-") as temporary:
        wheels = Path(temporary)
        bundle.unpack(f"{part}/", wheels)
        options = ["--no-index", "--no-deps", "--require-hashes", "--no-cache-dir", "--disable-pip-version-check", "-q"]
        options += ["--no-compile", "-r", str(wheels / "requirements.txt")]
        done = subprocess.run(
            [str(folder / "bin" / "python"), str(pip), "install", *options, "--find-links", str(wheels)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise BoardError(f"pip could not install the {part}: {(errors or [done.stderr[-200:]])[0]}")
    _compile(next(folder.glob("lib/python*/site-packages")))


def _pip(bundle: Bundle, packages: Path) -> Path:
    """pip, ready to run; Debian's Python may lack ensurepip, so its wheel travelled along.

    It stays with the packages: compiling it takes a small board longer than installing new code with it.
    """
    folder, beside = packages / "pip", packages / ".pip.part"
    if not folder.exists():
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        bundle.unpack("pip/", beside)
        wheel = next(beside.glob("pip-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(beside)
        wheel.unlink()
        _compile(beside)
        beside.replace(folder)
    return folder / "pip"


def _compile(folder: Path) -> None:
    """Compiles what is imported, not the tests that packages bring, on all processors.

    What fails to compile is not meant for this Python; whoever imports it is told then.
    """
    command = [*PYTHON, "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/", str(folder)]
    subprocess.run(command, capture_output=True, check=False)


def _need(bundle: Bundle, part: str, what: str) -> None:
    if not bundle.has(part):
        raise BoardError(f"the board lacks the {what} and this bundle does not bring them; deploy again")
