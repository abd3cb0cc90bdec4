"""The page of the studio in a browser, and the REST interface under fuzzed requests.

Skipped without the extra "browser" and Chromium.
"""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

REASON = 'pip install -e ".[browser]"'
sync_api = pytest.importorskip("playwright.sync_api", reason=REASON)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
START_SECONDS = 3.0
"""Limit for the start is ten times this."""
BAD = ("serious", "critical")
"""Impacts of accessibility faults that fail the test."""
PATIENCE = 120_000
"""Milliseconds until a job is done."""


@pytest.fixture
def studio(run: Path) -> Iterator[str]:
    """Address of a studio with one model of random weights, started by impasto serve."""
    Path("runs").mkdir()
    run.rename("runs/emoji")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "impasto", "serve", "--no-browser", "--port", str(port), "--device", "cpu"]
    with subprocess.Popen(command) as process:
        address = f"http://127.0.0.1:{port}/"
        limit = time.monotonic() + 10 * START_SECONDS
        while time.monotonic() < limit:
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        try:
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)  # the studio waits up to 30 s for the last step of a job


@pytest.fixture
def page(studio: str) -> Iterator["sync_api.Page"]:
    """The page, in English and light; fails if its console has errors."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(locale="en-GB", color_scheme="light", viewport={"width": 1280, "height": 900})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(studio)
        page.wait_for_selector("#mix-styles button")
        yield page
        browser.close()
    assert not errors


def drawing(number: int) -> Image.Image:
    """A picture of an ellipse."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((8 + 4 * number, 8, 40 + 4 * number, 40), fill=(40 + 60 * number, 160, 220 - 50 * number, 255))
    return picture


def files(count: int) -> list[Path]:
    """Write ``count`` picture files."""
    paths = [Path(f"drawing-{number}.png") for number in range(count)]
    for number, path in enumerate(paths):
        drawing(number).save(path)
    return paths


def drop(page: "sync_api.Page", zone: str, *paths: Path) -> None:
    """Choose files for a zone."""
    with page.expect_file_chooser() as chooser:
        page.click(zone)
    chooser.value.set_files(list(paths))


def done(page: "sync_api.Page", jobs: str, pictures: int) -> None:
    """Wait until the newest job of a list has this number of pictures and is over."""
    newest = page.locator(f"{jobs} .job").first
    sync_api.expect(newest.locator(".cell")).to_have_count(pictures, timeout=PATIENCE)
    sync_api.expect(newest.locator("progress")).to_be_hidden(timeout=PATIENCE)


def set_field(page: "sync_api.Page", name: str, value: object, where: str = "main") -> None:
    """Set a field of the settings."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    field = page.locator(f"{where} input[data-name={name}]").first
    field.fill(str(value))
    field.dispatch_event("change")


def test_pictures_are_generated_and_their_settings_restored(page: "sync_api.Page") -> None:
    assert page.locator("main > section:visible").count() == 1
    assert page.locator("#text").is_hidden(), "the model has learned no captions"
    page.click("#mix-styles button:first-child")
    set_field(page, "count", 3)
    set_field(page, "steps", 2)
    page.fill("#seed", "7")
    page.check("#lock")
    page.click("#make")
    done(page, "#mix-jobs", 3)
    page.click("#dice")
    assert page.input_value("#seed") != "7"
    page.click("#tab-gallery")
    page.wait_for_selector("#pictures .cell")
    page.click("#pictures .cell:first-child")
    page.wait_for_selector("#viewer pre")
    page.click("#viewer >> text=Restore its settings")
    sync_api.expect(page.locator("#seed")).to_have_value("7")
    assert page.locator("#mix-styles button[aria-pressed=true]").inner_text() == "a"
    page.reload()
    page.wait_for_selector("#mix-jobs .cell")
    assert page.locator("#mix-jobs .cell").count() == 3, "a reload keeps the pictures"


def test_three_pictures_are_fused(page: "sync_api.Page") -> None:
    set_field(page, "count", 1)
    set_field(page, "steps", 2)
    drop(page, "#mix-drop", *files(3))
    sync_api.expect(page.locator(".source")).to_have_count(3)
    slider = page.locator(".source:nth-child(2) input[data-name=texture]")
    slider.fill("1.5")
    page.click("#make")
    done(page, "#mix-jobs", 1)
    page.click("#mix-jobs .cell")
    page.wait_for_selector("#viewer pre")
    assert '"texture"' in page.inner_text("#viewer pre") and ":1.5" in page.inner_text("#viewer pre")


def test_the_preview_follows_the_slider_and_a_clip_is_stylized(page: "sync_api.Page") -> None:
    page.click("#tab-stylize")
    drop(page, "#stylize-drop", *files(1))
    page.click("#stylize-styles button:first-child")
    page.wait_for_selector("#stylize-preview:not([hidden])")
    before = page.get_attribute("#stylize-preview", "src")
    page.locator("#stylize-sliders input[data-name=strength]").fill("0.9")
    sync_api.expect(page.locator("#stylize-preview")).not_to_have_attribute("src", before or "")
    frames = [drawing(number).convert("RGB") for number in range(3)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=100)
    set_field(page, "steps", 2, "#stylize-fields")
    drop(page, "#stylize-drop", Path("clip.gif"))
    page.wait_for_selector("text=clip.gif")
    page.click("#stylize-go")
    done(page, "#stylize-jobs", 1)
    assert page.locator("#stylize-jobs video").count() == 1


@pytest.mark.slow
def test_a_model_is_trained_and_another_training_cancelled(page: "sync_api.Page") -> None:
    for collection in "ab":
        Path("mine", collection).mkdir(parents=True)
    for number, path in enumerate(files(4)):
        path.rename(Path("mine") / "ab"[number % 2] / path.name)
    page.click("#tab-train")
    with page.expect_file_chooser() as chooser:
        page.click("#train-folder")
    chooser.value.set_files("mine")
    page.wait_for_selector("#audit:not([hidden])")
    assert "4 images" in page.inner_text("#audit") and "b 2" in page.inner_text("#audit")
    page.locator("select[data-name=size]").select_option("tiny")
    for name, value in (("minutes", "0.8"), ("resolution", "32"), ("name", "mine")):
        set_field(page, name, value)
    page.click("#train-go")
    page.wait_for_selector("#curves figure", timeout=PATIENCE)
    page.wait_for_selector("#timeline img", timeout=PATIENCE)
    sync_api.expect(page.locator("#model option[value=mine]")).to_have_count(1, timeout=PATIENCE)
    set_field(page, "minutes", "10")
    set_field(page, "name", "other")
    page.click("#train-go")
    page.wait_for_selector("#train-jobs .job:first-child >> text=running", timeout=PATIENCE)
    page.click("#train-jobs .job:first-child button")
    page.wait_for_selector("#train-jobs .job:first-child >> text=cancelled", timeout=PATIENCE)


def test_chinese_and_dark(page: "sync_api.Page") -> None:
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#language")
    assert page.inner_text("#make") == "生成图片" and page.get_attribute("html", "lang") == "zh-CN"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    page.wait_for_selector("#mix-styles button")
    assert page.inner_text("#make") == "生成图片", "a reload keeps the language"


def test_the_keyboard_reaches_every_tab(page: "sync_api.Page") -> None:
    page.focus("#tab-mix")
    seen = []
    for _ in range(5):
        seen.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("ArrowRight")
    assert seen == ["tab-mix", "tab-stylize", "tab-styles", "tab-train", "tab-gallery"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_fault(page: "sync_api.Page", scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    set_field(page, "count", 1)
    set_field(page, "steps", 1)
    drop(page, "#mix-drop", *files(1))
    page.wait_for_selector(".source")
    page.click("#make")
    done(page, "#mix-jobs", 1)
    found = []
    for tab in ("mix", "stylize", "styles", "train", "gallery"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#{tab}:not([hidden])")
        report = axe.run(page).response
        found += [(tab, v["id"], v["nodes"][0]["html"]) for v in report["violations"] if v["impact"] in BAD]
    assert not found


@pytest.mark.slow
def test_fuzzed_requests_cause_no_server_error(studio: str) -> None:
    pytest.importorskip("schemathesis", reason=REASON)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{studio}openapi.json", "--seed", "0"]
    command += ["--checks", "not_a_server_error", "--max-examples", "20", "--exclude-path", "/api/events"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
