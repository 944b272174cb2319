"""Recording, snapshots and clips from the page: what is stored plays in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps.browser import Visit, browser
from tests.apps.desk import HEIGHT, WIDTH, Desk
from tests.apps.sockets import ask

__all__ = ["browser"]  # a fixture

media = pytest.importorskip("apps.media")

PLAYED = """path => new Promise((done, failed) => {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, src: path, onerror: () => failed(video.error.message) });
  video.onloadeddata = () => { video.currentTime = Math.min(0.5, video.duration / 2); };
  video.onseeked = () => done([video.videoWidth, video.videoHeight, video.duration]);
})"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    options = media.MediaOptions(clip_before_s=0.5, clip_after_s=0.5)
    made = Desk(recorder=media.MediaOutput(tmp_path_factory.mktemp("media"), options))
    yield made
    made.close()


@pytest.fixture
def visit(browser: Any, desk: Desk) -> Iterator[Visit]:
    made = Visit(browser, desk.url)
    yield made
    assert made.complaints == []
    made.close()


def stored(desk: Desk, kind: str) -> list[str]:
    return [entry["name"] for entry in ask(desk.address, "/api/media")["media"] if entry["kind"] == kind]


def test_a_recording_plays(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.wait_for_selector("#record:enabled")
    page.keyboard.press("r")
    page.wait_for_selector("#record[aria-pressed=true]")
    page.wait_for_timeout(1500)
    page.keyboard.press("r")
    visit.until(lambda: stored(desk, "recording"))
    width, height, seconds = page.evaluate(PLAYED, f"/media/{stored(desk, 'recording')[0]}")
    assert (width, height) == (WIDTH, HEIGHT)
    assert 0.8 <= seconds <= 40
    # The page lists it without being asked, a moment after the recording ends.
    visit.until(lambda: page.locator("#media a").count() > 0)


def test_a_snapshot_is_a_picture(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.keyboard.press("s")
    name = page.locator("#toasts a").inner_text()
    assert name in stored(desk, "snapshot")
    size = page.evaluate(
        "path => new Promise(done => { const image = new Image(); image.src = path;"
        " image.onload = () => done([image.naturalWidth, image.naturalHeight]); })",
        f"/media/{name}",
    )
    assert size == [WIDTH, HEIGHT]


def bursts(desk: Desk) -> list[dict[str, Any]]:
    """Clips of three events and more."""
    media = ask(desk.address, "/api/media")["media"]
    return [one for one in media if one["kind"] == "clip" and one["last_event"] - one["event"] >= 2]


def test_an_event_leads_to_its_clip(visit: Visit, desk: Desk) -> None:
    """From every event of a burst: two lines side by side are crossed within half a second."""
    doors = [
        {"name": f"door {x}", "kind": "line", "points": [[x, 1.0], [x, 0.0]], "classes": []} for x in (0.5, 0.53, 0.56)
    ]
    desk.change({"shapes": doors})
    visit.until(lambda: bursts(desk), 60)
    desk.change({"shapes": []})
    burst = bursts(desk)[0]
    told = {one["number"]: one["clip"] for one in ask(desk.address, "/api/events")["events"]}
    for number in range(burst["event"], burst["last_event"] + 1):
        row = visit.page.locator(f"#events li[data-event='{number}'] a.clip")
        row.wait_for()
        assert row.get_attribute("href") == f"/media/{burst['name']}"
        assert told[number] == burst["name"]
    visit.page.reload()
    # Its thumbnail is no file of its own to the viewer.
    visit.page.wait_for_selector(f"#media a[href='/media/{burst['name']}']")
    assert visit.page.locator("#media a[href^='/media/clip-'][href*='.jpg']").count() == 0
    link = visit.page.locator("#events a.clip").last
    link.wait_for()
    width, height, seconds = visit.page.evaluate(PLAYED, link.get_attribute("href"))
    assert (width, height) == (WIDTH, HEIGHT)
    assert seconds >= 0.5
