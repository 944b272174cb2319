"""The live page in a real browser."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from apps.server import WebOutput
from runtime.errors import InputError
from tests.apps.browser import Visit, browser
from tests.apps.desk import HEIGHT, RANGE, SIDE, TOP, WIDTH, Desk, left_edge

__all__ = ["browser"]  # a fixture

TOKEN = "a-token-that-is-long-enough"
NUMBER = "import('/state.js').then(({state}) => state.facts.number)"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("media"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(browser: Any, desk: Desk) -> Iterator[Visit]:
    made = Visit(browser, desk.url, viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def visit(shared: Visit, desk: Desk) -> Iterator[Visit]:
    """The page, all settings as at the start; afterwards it must not have complained."""
    desk.change({"score": 0.25, "classes": None, "shapes": [], "recording": False, "reset_counts": True})
    shared.page.reload()
    shared.page.wait_for_selector("#status[data-state=live]")
    yield shared
    assert shared.complaints == []
    assert all(url.startswith((desk.url, "blob:")) for url in shared.requests)


def edges(mask: np.ndarray) -> tuple[int, int]:
    """First and last column that is set nearly all along."""
    columns = np.flatnonzero(mask.mean(axis=0) > 0.85)
    return int(columns[0]), int(columns[-1])


def test_picture_moves_and_the_box_lies_on_the_object(visit: Visit) -> None:
    positions = set()
    rows = slice(TOP + 20, TOP + SIDE - 20)
    for _ in range(8):
        picture, drawn = visit.layers()
        assert picture.shape[:2] == (HEIGHT, WIDTH)
        first, last = edges(picture[rows].min(axis=2) > 180)
        # Two upright lines; the small box is elsewhere.
        left, right = edges(drawn[rows, :, 3] > 60)
        assert abs(left - first) <= 3
        assert abs(right - last) <= 3
        positions.add(first)
        visit.page.wait_for_timeout(100)
    assert len(positions) >= 5


def test_figures_are_shown(visit: Visit, desk: Desk) -> None:
    visit.page.wait_for_selector("#list li")
    text = {name: visit.page.inner_text(f"#{name}") for name in ("fps", "latency", "objects", "dropped", "list")}
    assert text == {
        "fps": "49.5",
        "latency": "12",
        "objects": "2",
        "dropped": "4",
        "list": "robin\n#1\n0.87\nwren\n#2\n0.40",
    }
    assert visit.page.inner_text("#temperature") == "51"
    assert visit.page.inner_text("#throttled") == "none"
    assert "inference\n8.0" in visit.page.inner_text(".legend")
    assert visit.page.title() == "tiny · Edgewren"
    desk.figures.captured, desk.figures.left_out = 90, {"newer": 3, "governor": 1}
    visit.until(lambda: visit.page.inner_text("#left-out") == "network busy 3, governor 1")
    assert visit.page.inner_text("#captured") == "90"
    assert "90 captured = " in str(visit.page.get_attribute("#drops", "title"))
    desk.figures.throttled = ("under-voltage",)
    desk.figures.notices = ("the frame rate was lowered to 10",)
    visit.until(lambda: visit.page.inner_text("#throttled") == "under-voltage")
    assert visit.page.inner_text("#notices") == "the frame rate was lowered to 10"
    desk.figures.throttled, desk.figures.notices = (), ()


def test_boxes_pause_and_keys(visit: Visit) -> None:
    page = visit.page
    visit.until(visit.boxes_drawn)
    page.click("#boxes")
    assert not visit.boxes_drawn()
    page.keyboard.press("b")
    assert visit.boxes_drawn()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    page.wait_for_timeout(150)
    assert page.inner_text("#status") == "paused"
    still = visit.layers()[0]
    page.wait_for_timeout(200)
    assert np.array_equal(still, visit.layers()[0])
    page.click("#pause")
    visit.until(lambda: not np.array_equal(still, visit.layers()[0]))
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    assert "+" in page.locator("#keys kbd").all_inner_texts()
    page.keyboard.press("Escape")


def test_the_slider_changes_what_is_drawn_at_once_and_the_session(visit: Visit, desk: Desk) -> None:
    def wren_drawn() -> bool:
        return bool(visit.layers()[1][25:95, 35:105, 3].max() > 100)

    visit.until(wren_drawn)
    slider = visit.page.locator("#score")
    slider.fill("0.6")
    assert not wren_drawn()
    assert visit.page.inner_text("#score-value") == "0.60"
    visit.until(lambda: desk.state()["score"] == 0.6)
    slider.focus()
    for _ in range(30):
        visit.page.keyboard.press("ArrowLeft")
    visit.until(lambda: desk.state()["score"] == 0.3)
    visit.until(wren_drawn)


def test_class_filter(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.click("#classes summary")
    page.uncheck("#class-list input[value=robin]")
    visit.until(lambda: desk.state()["classes"] == ["wren", "finch"])
    visit.until(lambda: page.inner_text("#list").startswith("wren"))
    assert page.inner_text("#objects") == "1"
    assert page.inner_text("#classes-value") == "2 of 3"
    page.click("#all-classes")
    visit.until(lambda: desk.state()["classes"] is None)


def test_a_score_and_a_class_chosen_at_once_both_arrive(visit: Visit, desk: Desk) -> None:
    visit.page.evaluate(
        """() => {
             const slider = document.getElementById("score");
             slider.value = 0.7;
             slider.dispatchEvent(new Event("input"));
             document.querySelector("#class-list input[value=robin]").click();
           }"""
    )
    visit.until(lambda: desk.state()["classes"] == ["wren", "finch"])
    assert desk.state()["score"] == 0.7


def test_a_score_that_is_refused_is_taken_back(visit: Visit, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(wanted: object) -> None:
        raise InputError("not now", "")

    monkeypatch.setattr(desk, "change", refuse)
    visit.page.locator("#score").fill("0.9")
    visit.page.wait_for_selector("#toasts .bad")
    visit.until(lambda: visit.page.inner_text("#score-value") == "0.25")
    assert visit.page.input_value("#score") == "0.25"
    visit.complaints.clear()  # the browser tells of the answer


def crossings(first: int, last: int, middle: float) -> tuple[int, int]:
    """How often the robin's centre passes a column to the right and to the left between two frames."""
    places = [left_edge(number) + SIDE / 2 > middle for number in range(first, last + 1)]
    steps = list(itertools.pairwise(places))
    return steps.count((False, True)), steps.count((True, False))


def test_a_line_drawn_by_mouse_counts_the_known_crossings(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.click("#add-line")
    assert "starts" in page.inner_text("#hint")
    page.mouse.click(*visit.at(0.5, 0.95))
    page.mouse.click(*visit.at(0.5, 0.1))
    visit.until(lambda: desk.state()["shapes"])
    begin = desk.number
    shape = desk.state()["shapes"][0]
    assert (shape["name"], shape["kind"]) == ("Line 1", "line")
    np.testing.assert_allclose(shape["points"], [[0.5, 0.95], [0.5, 0.1]], atol=0.004)
    # Upwards drawn, so what goes to the right comes in, and there the arrow points.
    page.wait_for_selector("#shapes .arrow", state="attached")
    arrow = page.evaluate("document.querySelector('#shapes .arrow').getBoundingClientRect().toJSON()")
    middle = visit.at(0.5, 0.5)[0]
    assert arrow["x"] > middle - 10
    assert arrow["x"] + arrow["width"] > middle + 15
    visit.until(lambda: desk.number >= begin + 2.2 * RANGE / 6)
    page.click("#pause")
    page.wait_for_timeout(300)
    counted = int(page.inner_text("[data-count=into]")), int(page.inner_text("[data-count=out]"))
    last = page.evaluate("import('/state.js').then(({state}) => state.facts.number)")
    column = shape["points"][0][0] * WIDTH
    # The line was there some frames before this was noticed, and the counting waits until an object is clear of it.
    possible = {crossings(begin - early, last - late, column) for early in range(8) for late in range(-5, 15)}
    assert counted in possible
    assert all(abs(sum(one) - sum(counted)) <= 2 for one in possible)
    assert sum(counted) >= 2
    assert page.text_content("#shapes text") == f"Line 1  {counted[0]} in · {counted[1]} out"
    page.click("#pause")
    events = page.locator("#events li")
    visit.until(lambda: events.count() >= sum(counted))
    assert "robin crossed Line 1" in events.first.inner_text()
    visit.until(lambda: page.evaluate("document.querySelector('#events img').naturalWidth") > 30)
    page.click("#reset")
    visit.until(lambda: int(page.inner_text("[data-count=into]")) + int(page.inner_text("[data-count=out]")) <= 1)


def test_shapes_are_edited_renamed_turned_and_deleted(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.click("#add-zone")
    for corner in [(0.2, 0.4), (0.8, 0.4), (0.8, 0.9), (0.2, 0.9)]:
        page.mouse.click(*visit.at(*corner))
    page.mouse.click(*visit.at(0.2, 0.4))  # the first corner again closes it
    visit.until(lambda: desk.state()["shapes"])
    assert len(desk.state()["shapes"][0]["points"]) == 4
    visit.until(lambda: page.inner_text("[data-count=inside]") == "1")
    # A corner is dragged.
    page.click("[aria-label='Edit Zone 1 in the picture']")
    page.mouse.move(*visit.at(0.8, 0.9))
    page.mouse.down()
    page.mouse.move(*visit.at(0.85, 0.95), steps=3)
    page.mouse.up()
    visit.until(lambda: abs(desk.state()["shapes"][0]["points"][2][0] - 0.85) < 0.01)
    # A new corner is pulled out of an edge.
    page.mouse.move(*visit.at(0.5, 0.4))
    page.mouse.down()
    page.mouse.move(*visit.at(0.5, 0.3), steps=3)
    page.mouse.up()
    visit.until(lambda: len(desk.state()["shapes"][0]["points"]) == 5)
    page.click("#done")
    name = page.locator("#counters input")
    name.fill("Counter")
    name.press("Enter")
    visit.until(lambda: desk.state()["shapes"][0]["name"] == "Counter")
    page.select_option("#counters select", "wren")
    visit.until(lambda: desk.state()["shapes"][0]["classes"] == ["wren"])
    page.click("[aria-label='Delete Counter']")
    visit.until(lambda: desk.state()["shapes"] == [])
    visit.until(lambda: page.is_visible("#no-shapes"))


def test_a_refused_shape_is_taken_back_and_told_once(visit: Visit, desk: Desk) -> None:
    page = visit.page
    desk.change({"shapes": [{"name": "door", "kind": "line", "points": [[0.5, 0], [0.5, 1]]}]})
    page.wait_for_selector("#counters input")
    told = page.evaluate(
        """() => Promise.all([import("/state.js"), import("/shapes.js")]).then(async ([{ on, state }, { save }]) => {
             const told = [];
             on("settings", () => told.push(state.settings.shapes[0].kind));
             await save([{ ...state.settings.shapes[0], kind: "spiral" }]);
             return told;
           })"""
    )
    assert told == ["spiral", "line"]
    assert len(visit.complaints) == 1  # the browser's own line about the 400
    visit.complaints.clear()


def test_a_long_name_stays_in_the_picture(visit: Visit, desk: Desk) -> None:
    name = "A door with as long a name as there may"
    desk.change({"shapes": [{"name": name, "kind": "line", "points": [[0.8, 1], [0.8, 0]]},
                            {"name": f"{name}!", "kind": "line", "points": [[0.2, 0], [0.2, 1]]}]})  # fmt: skip
    visit.until(lambda: visit.page.locator("#shapes text").count() == 2)
    frame = visit.page.locator("#frame").bounding_box()
    for label in visit.page.locator("#shapes text").all():
        box = label.bounding_box()
        assert box is not None
        assert box["x"] >= frame["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]


def test_a_line_by_keys_alone(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.keyboard.press("l")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowUp")
    assert "50 %, 30 %" in page.inner_text("#hint")
    page.keyboard.press("Enter")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    visit.until(lambda: desk.state()["shapes"])
    assert desk.state()["shapes"][0]["points"] == [[0.5, 0.3], [0.5, 0.7]]
    page.focus("#shapes .body")
    page.keyboard.press("Enter")
    page.focus("#shapes .handle >> nth=1")
    page.keyboard.press("ArrowRight")
    visit.until(lambda: desk.state()["shapes"][0]["points"] == [[0.5, 0.3], [0.51, 0.7]])
    page.keyboard.press("Escape")
    page.focus("[aria-label^='Turn Line 1']")
    page.keyboard.press("Enter")
    visit.until(lambda: desk.state()["shapes"][0]["points"] == [[0.51, 0.7], [0.5, 0.3]])
    page.focus("#shapes .body")
    page.keyboard.press("Delete")
    visit.until(lambda: desk.state()["shapes"] == [])


def test_snapshot_record_model_and_source(visit: Visit, desk: Desk) -> None:
    page = visit.page
    page.keyboard.press("s")
    link = page.locator("#toasts a").last
    with page.context.expect_page() as opened:
        link.click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("document.images[0].naturalWidth") == WIDTH
    opened.value.close()
    visit.until(lambda: page.locator("#media li").count() >= 1)
    page.click("#record")
    visit.until(lambda: desk.state()["recording"])
    visit.until(lambda: page.is_visible("#recording"))
    page.click("#record")
    visit.until(lambda: not desk.state()["recording"])
    page.select_option("#model", "large")
    visit.until(lambda: page.title() == "large · Edgewren")
    page.select_option("#source", "other")
    visit.until(lambda: page.inner_text("#source-name") == "other")
    desk.change({"model": "tiny", "source": "made"})
    visit.until(lambda: page.title() == "tiny · Edgewren")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 800, 1280])
def test_fits_the_screen(scheme: str, width: int, browser: Any, desk: Desk) -> None:
    options = {"is_mobile": True, "has_touch": True} if width == 360 else {}
    visit = Visit(browser, desk.url, color_scheme=scheme, viewport={"width": width, "height": 760}, **options)
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # No part reaches out of the window, and nothing to press is cut off or too small for a finger.
    outside = page.evaluate(
        """() => [...document.querySelectorAll("header *, main *")]
             .filter(part => part.checkVisibility() && !part.closest("svg"))
             .map(part => [part.id || part.className || part.tagName, part.getBoundingClientRect()])
             .filter(([, box]) => box.width && (box.left < -1 || box.right > innerWidth + 1)).map(([name]) => name)"""
    )
    assert outside == []
    for name in ("pause", "boxes", "snapshot", "record", "add-line", "add-zone"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["height"] >= (44 if width == 360 else 36)
        assert box["y"] + box["height"] <= 760
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(value) for value in ground.strip("rgb()").split(","))
    assert (brightness > 600) == (scheme == "light")
    # The viewer's own choice wins over the system's.
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(242, 244, 246)"
    assert visit.complaints == []
    visit.close()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(scheme: str, width: int, browser: Any, desk: Desk) -> None:
    """Names, roles, contrast, focus: Deque's axe-core, on the page with shapes, counters and events."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    zone = {"name": "Sofa", "kind": "zone", "points": [[0.1, 0.5], [0.3, 0.5], [0.3, 0.9]]}
    line = {"name": "Door", "kind": "line", "points": [[0.5, 0.95], [0.5, 0.1]]}
    desk.change({"score": 0.25, "classes": None, "shapes": [line, zone]})
    # The page itself lets no foreign script in.
    visit = Visit(browser, desk.url, viewport={"width": width, "height": 760}, color_scheme=scheme, bypass_csp=True)
    visit.page.wait_for_selector("#events li", timeout=60000)
    found = axe.run(visit.page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    visit.close()


def test_everything_to_press_has_a_name_and_can_be_reached(visit: Visit) -> None:
    page = visit.page
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, [role=button]")]
             .filter(part => !(part.textContent.trim() || part.getAttribute("aria-label") || part.labels?.length))
             .map(part => part.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"theme", "help", "pause", "boxes", "snapshot", "record", "add-line", "score", "model", "source"} <= reached


def test_a_line_drawn_by_finger(browser: Any, desk: Desk) -> None:
    visit = Visit(browser, desk.url, viewport={"width": 360, "height": 760}, is_mobile=True, has_touch=True)
    visit.page.tap("#add-line")
    visit.page.wait_for_selector("#shapes.sketching")
    visit.page.touchscreen.tap(*visit.at(0.3, 0.6))
    visit.page.touchscreen.tap(*visit.at(0.7, 0.6))
    visit.until(lambda: desk.state()["shapes"])
    np.testing.assert_allclose(desk.state()["shapes"][0]["points"], [[0.3, 0.6], [0.7, 0.6]], atol=0.01)
    visit.close()
    desk.change({"shapes": []})


def test_says_when_the_source_is_away_or_over(visit: Visit, desk: Desk) -> None:
    page = visit.page
    desk.silent.set()
    try:
        desk.figures.source = "reopening"
        visit.until(lambda: page.inner_text("#status") == "source stopped, trying again")
        assert page.is_visible("#veil")
        desk.figures.source = "ended"
        visit.until(lambda: page.inner_text("#status") == "source ended")
        desk.figures.source = "live"
        visit.until(lambda: page.inner_text("#status").startswith("live"))
    finally:
        desk.figures.source = "live"
        desk.silent.clear()


def test_says_when_it_is_over_and_comes_back(browser: Any) -> None:
    desk = Desk()
    visit = Visit(browser, desk.url)
    port = int(desk.address.rpartition(":")[2])
    desk.close()
    visit.page.wait_for_selector("#status[data-state=ended]")
    assert visit.page.is_visible("#veil")
    visit.until(lambda: any("ERR_CONNECTION_REFUSED" in text for text in visit.complaints))
    visit.page.wait_for_timeout(200)
    assert visit.page.inner_text("#veil") == "ended"  # and not lost, however often it is tried
    again = Desk(port=port)
    try:
        visit.page.wait_for_selector("#status[data-state=live]")
    finally:
        visit.close()
        again.close()


def test_events_of_a_program_that_was_started_again_are_shown_with_their_pictures(browser: Any) -> None:
    """It counts them from one again; the browser still has the pictures of those before."""
    line = {"shapes": [{"name": "door", "kind": "line", "points": [[0.5, 0.0], [0.5, 1.0]], "classes": []}]}
    desk = Desk()
    visit = Visit(browser, desk.url)
    told = """() => [...document.querySelectorAll('#events li')].map(
      (row) => [Number(row.dataset.event), row.querySelector("img").getAttribute("src")])"""
    desk.change(line)
    visit.until(lambda: len(visit.page.evaluate(told)) >= 3)
    before = visit.page.evaluate(told)
    desk.close()
    again = Desk(port=int(desk.address.rpartition(":")[2]))
    try:
        again.change(line)
        visit.until(lambda: visit.page.evaluate(told)[-1:] not in ([], before[-1:]))
        after = visit.page.evaluate(told)
        assert [number for number, _ in after] == list(range(len(after), 0, -1))
        assert not {picture for _, picture in after} & {picture for _, picture in before}
    finally:
        visit.close()
        again.close()


def test_a_connection_that_falls_silent_is_given_up(browser: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a network goes away without a word: nothing is closed, nothing comes."""
    silent, hub = threading.Event(), desk.web._hub
    answer = hub.next

    async def perhaps(seen: int, variant: Any) -> tuple[int, bytes]:
        if silent.is_set():
            await asyncio.Event().wait()
        return await answer(seen, variant)

    visit = Visit(browser, desk.url)
    visit.page.clock.install()
    visit.page.reload()
    visit.page.wait_for_selector("#status[data-state=live]")
    monkeypatch.setattr(hub, "next", perhaps)
    silent.set()
    visit.page.wait_for_timeout(500)
    silent.clear()
    before = visit.page.evaluate(NUMBER)
    visit.page.wait_for_timeout(500)
    assert visit.page.evaluate(NUMBER) == before
    visit.page.clock.fast_forward(20_000)
    visit.until(lambda: visit.page.evaluate(NUMBER) > before)
    assert visit.complaints == []
    visit.close()


def test_the_token_leaves_the_address_bar_and_lets_in(browser: Any, desk: Desk) -> None:
    web = WebOutput("127.0.0.1", 0, desk, token=TOKEN)
    desk_web, desk.web = desk.web, web
    try:
        visit = Visit(browser, web.url)
        assert visit.page.url == web.url.partition("?")[0]
        visit.page.reload()
        visit.page.wait_for_selector("#status[data-state=live]")
        assert visit.complaints == []
        visit.close()
        page = browser.new_context().new_page()
        page.goto(web.url.partition("?")[0])
        assert page.locator("[role=alert]").count() == 0
        page.fill("#token", "another-token-that-is-wrong")
        page.click("button")
        assert "not right" in page.inner_text("[role=alert]")
        page.fill("#token", TOKEN)
        page.click("button")
        page.wait_for_selector("#status[data-state=live]")
        page.context.close()
    finally:
        desk.web = desk_web
        web.close()


def test_a_page_nobody_sees_asks_for_nothing(visit: Visit) -> None:
    visit.page.evaluate("""Object.defineProperty(document, "hidden", { value: true, configurable: true })""")
    visit.page.wait_for_timeout(200)
    before = visit.page.evaluate(NUMBER)
    visit.page.wait_for_timeout(250)
    assert visit.page.evaluate(NUMBER) == before
    visit.page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    visit.until(lambda: visit.page.evaluate(NUMBER) > before)
