"""The page of `lit_ae explore` in a real browser, served by the real command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from conftest import SCRIPT, environment
from lit_ae.explore.app import build
from lit_ae.explore.space import Space
from lit_ae.jobs.explore import listening
from lit_ae.jobs.opening import opened

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install lit_ae[dev]")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine: apt-get install chromium", allow_module_level=True)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(trained: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [str(SCRIPT), "explore", str(trained), "--port", "0", "--n", "100"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("page     http://127.0.0.1:"), line
    yield process, line.split()[1]
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["laptop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, served: tuple[Any, str]) -> Iterator[Any]:
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    mistakes: list[str] = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.on("console", lambda message: mistakes.append(message.text) if complains(message) else None)
    page.goto(served[1])
    page.wait_for_selector("body[data-ready]")
    page.wait_for_function("() => document.getElementById('decoded').naturalWidth > 0")
    yield page
    page.close()
    assert mistakes == []


def complains(message: Any) -> bool:
    asked_for = any(f"status of {status}" in message.text for status in (413, 415))  # by one test
    return bool(message.type == "error" and not asked_for)


PIXELS = """(id) => {
  const image = document.getElementById(id), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext('2d').drawImage(image, 0, 0);
  return canvas.toDataURL();
}"""
COLOURS = """() => {
  const map = document.getElementById('map');
  const data = map.getContext('2d').getImageData(0, 0, map.width, map.height).data, seen = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 150) seen.add([data[i] >> 4, data[i + 1] >> 4, data[i + 2] >> 4].join());
  }
  return seen.size;
}"""


def changed(page: Any, name: str, before: str) -> str:
    """The picture's pixels once they are others than before."""
    page.wait_for_function(
        f"([id, before]) => document.getElementById(id).complete && ({PIXELS})(id) !== before", arg=[name, before]
    )
    return str(page.evaluate(PIXELS, name))


def test_the_map_draws_and_the_pointer_decodes(page: Any) -> None:
    assert page.evaluate(COLOURS) > 20  # ten classes, and how they shine through each other
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    before = page.evaluate(PIXELS, "decoded")
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    first = changed(page, "decoded", before)
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"])
    changed(page, "decoded", first)
    assert "Nearest sample" in page.inner_text("#nearest-name")


def test_sliders_change_the_picture(page: Any) -> None:
    before = page.evaluate(PIXELS, "decoded")
    slider = page.locator(".slider input").first
    slider.evaluate("(input) => { input.value = input.max; input.dispatchEvent(new Event('input')); }")
    after = changed(page, "decoded", before)
    page.click("#reset")
    assert changed(page, "decoded", after) == before


def test_an_upload_is_encoded_and_a_text_is_refused(page: Any, tmp_path: Path) -> None:
    Image.effect_noise((40, 40), 80).save(tmp_path / "noise.png")
    (tmp_path / "text.png").write_text("no picture")
    before = page.evaluate(PIXELS, "decoded")
    page.set_input_files("#file", tmp_path / "noise.png")
    page.wait_for_function("() => document.getElementById('reconstruction').naturalWidth == 8")
    assert page.evaluate("document.getElementById('seen').naturalWidth") == 8
    changed(page, "decoded", before)
    with page.expect_response("**/api/encode*") as answer:
        page.set_input_files("#file", tmp_path / "text.png")
    assert answer.value.status == 415
    page.wait_for_selector("#message:not([hidden])")
    assert "no picture" in page.inner_text("#message")
    (tmp_path / "long.png").write_bytes(bytes(12_000_000))
    page.set_input_files("#file", tmp_path / "long.png")
    page.wait_for_function(
        "() => document.getElementById('message').textContent.includes('longer than 8,000,000 bytes')"
    )


def test_two_samples_are_morphed(page: Any) -> None:
    box = page.locator("#map").bounding_box()
    for name, (x, y) in {"a": (0.3, 0.3), "b": (0.7, 0.7)}.items():
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_function("() => document.getElementById('nearest').naturalWidth == 8")
        page.evaluate(f"document.getElementById('use-{name}').click()")  # without crossing the map
    page.wait_for_function("() => document.getElementById('frame').naturalWidth == 8")
    middle = page.evaluate(PIXELS, "frame")
    page.locator("#when").evaluate("(input) => { input.value = 0; input.dispatchEvent(new Event('input')); }")
    changed(page, "frame", middle)


@pytest.fixture
def points(trained_runs: Path) -> Iterator[str]:
    """Address of the page of a run on points, served in this process."""
    door = listening("127.0.0.1", 0)
    app = build(Space(opened(trained_runs / "plane" / "0"), n=30))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)


def test_samples_that_are_no_pictures_are_drawn_and_morphed(browser: Any, points: str) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.goto(points)
    page.wait_for_selector("body[data-ready]")
    box = page.locator("#map").bounding_box()
    for name, x in (("a", 0.2), ("b", 0.8)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
        page.evaluate(f"document.getElementById('use-{name}').click()")
    for name in ("decoded", "nearest", "a", "frame", "b"):
        page.wait_for_selector(f"#{name}-frame canvas")
    assert not page.is_visible("#message")
    assert not page.is_visible("#upload-card")
    page.close()


def test_ctrl_c_ends_it(served: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = served
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == ""
