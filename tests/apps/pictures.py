"""The pictures of the live page in the documentation: ``python -m tests.apps.pictures``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT

_PICTURES = ROOT / "docs" / "pictures"
_LAPTOP = {"viewport": {"width": 1280, "height": 860}}
_PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
_LOOKS: dict[str, dict[str, Any]] = {
    "live": _LAPTOP | {"color_scheme": "dark"},
    "live-light": _LAPTOP | {"color_scheme": "light"},
    "live-phone": _PHONE | {"color_scheme": "dark"},
}
_LINE = [(0.48, 0.95), (0.52, 0.06)]
_ZONE = [(0.64, 0.1), (0.96, 0.1), (0.96, 0.92), (0.64, 0.92)]


def draw(page: Any, button: str, points: list[tuple[float, float]]) -> None:
    """Draws a line or zone by mouse."""
    box = page.locator("#frame").bounding_box()
    page.click(button)
    for x, y in points:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(100)
    if page.is_visible("#done"):
        page.click("#done")


def main() -> None:
    """Runs the live app on a drawn scene, uses its page and takes the pictures."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "apps.live", "build/models/playing-cards.tflite"]
    command += ["synthetic://cards?seed=3&size=1280x720&fps=15", "http://127.0.0.1:0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr
    url = process.stderr.readline().split("live page: ")[1].split()[0]
    try:
        with sync_playwright() as driver:
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
            for name, look in _LOOKS.items():
                page = browser.new_context(**look).new_page()
                page.goto(url)
                page.wait_for_selector("#status[data-state=live]")
                if name == "live":
                    draw(page, "#add-line", _LINE)
                    draw(page, "#add-zone", _ZONE)
                    page.wait_for_timeout(25_000)
                page.wait_for_timeout(2_000)
                page.screenshot(path=_PICTURES / f"{name}.jpg", type="jpeg", quality=78)
            browser.close()
    finally:
        process.terminate()
        process.communicate(timeout=20)


if __name__ == "__main__":
    main()
