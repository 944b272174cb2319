"""A headless Chromium, and a visit of the live page with it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from tests.waiting import until


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        launched = driver.chromium.launch(executable_path=browser_path, args=arguments)
        yield launched
        launched.close()


def canvas_pixels(url: str) -> np.ndarray:
    """What ``toDataURL()`` of a canvas gave, ``(h, w, 4)`` uint8 BGRA."""
    image = cv2.imdecode(np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


class Visit:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.page.set_default_timeout(60000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("#status[data-state=live]")

    def layers(self) -> tuple[np.ndarray, np.ndarray]:
        """Picture ``(h, w, 3)`` and, of the same moment and size, what is drawn over it ``(h, w, 4)``."""
        urls = self.page.evaluate(
            """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
                 const scaled = document.createElement("canvas");
                 const [view, overlay] = ["view", "overlay"].map(id => document.getElementById(id));
                 [scaled.width, scaled.height] = [view.width, view.height];
                 scaled.getContext("2d").drawImage(overlay, 0, 0, view.width, view.height);
                 done([view.toDataURL(), scaled.toDataURL()]);
               })))"""
        )
        picture, drawn = (canvas_pixels(url) for url in urls)
        return picture[:, :, :3], drawn

    def boxes_drawn(self) -> bool:
        return bool(self.layers()[1][:, :, 3].max() > 100)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place in the picture, in pixels of the window."""
        box = self.page.locator("#frame").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        until(condition, self._said, seconds, 50, self.page.wait_for_timeout)

    def _said(self) -> str:
        """What a failure wants to know of the page."""
        page = self.page.evaluate(
            """async () => {
                 const {state} = await import("/state.js");
                 return [document.visibilityState, document.getElementById("status").textContent, state.figures,
                         state.facts?.number, state.facts?.frame];
               }"""
        )
        return f"not true; complaints {self.complaints}; last asked for {self.requests[-8:]}; {page}"

    def close(self) -> None:
        self.page.context.close()
