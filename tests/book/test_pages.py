"""Every built page, opened from disk in a real browser, as its readers see it.

Drives headless Chromium over all of _build/html (another folder: SEGLAB_HTML), in light
and dark mode, on a desktop and on a phone.
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HTML = Path(os.environ.get("SEGLAB_HTML", ROOT / "_build" / "html"))
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
NOT_PAGES = {"genindex.html"}  # written by Sphinx, linked from nowhere
PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if not {"_static", "_sources"} & set(path.relative_to(HTML).parts)
    and path.name not in NOT_PAGES
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on the PATH"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("playwright", "axe_playwright_python"))),
        reason="playwright and axe-playwright-python are not installed",
    ),
]

needs_book = pytest.mark.skipif(
    not PAGES, reason=f"no built book in {HTML}: run make book"
)

# What the theme and its extensions cause, in markup that they write: (axe rule, part of
# the element's HTML, why it stays). Nothing of the course's own belongs here.
THEME_FINDINGS: list[tuple[str, str, str]] = [
    (
        "label-content-name-mismatch",
        "search-button",
        "the button shows the key to press beside its name",
    ),
    (
        "region",
        "logo__title",
        "the theme's sidebar has its logo above the navigation, in no landmark",
    ),
]

# What goes wrong in a layout comes of the colors or of the width, so that two show a
# page both ways; every other page takes the other two.
LAYOUTS = (
    (("light", 1280), ("dark", 390)),
    (("dark", 1280), ("light", 390)),
)
VIEWS = [
    pytest.param(name, *layout, id=f"{name}-{layout[0]}-{layout[1]}")
    for number, name in enumerate(PAGES)
    for layout in LAYOUTS[number % 2]
]

LINKS_IN_A_QUESTION = 3  # Tab stops between two choices, at most


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


class Visit:
    """A page opened in a fresh tab, with all that it asked for or complained of."""

    def __init__(self, context: Any, name: str) -> None:
        self.complaints: list[str] = []
        self.page = context.new_page()
        self.page.on("request", self._on_request)
        self.page.on("requestfailed", lambda r: self._complain("failed", r.url))
        self.page.on("pageerror", lambda e: self._complain("error", str(e)))
        self.page.on("console", self._on_console)
        self.page.goto((HTML / name).as_uri())
        self.page.wait_for_function(
            "() => !window.MathJax || window.MathJax.startup?.promise"
        )
        self.page.evaluate("() => window.MathJax?.startup?.promise?.then(() => 0)")

    def _complain(self, kind: str, text: str) -> None:
        self.complaints.append(f"{kind}: {text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self._complain("request to a host", request.url)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"console {message.type}", message.text)


@pytest.fixture(scope="module")
def contexts(browser: Any) -> Iterator[dict[tuple[str, int], Any]]:
    contexts = {
        (scheme, width): browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        for scheme in ("light", "dark")
        for width in (1280, 390)
    }
    yield contexts
    for context in contexts.values():
        context.close()


def too_wide(page: Any) -> list[str]:
    """List what makes the page itself scroll sideways."""
    return page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          const clipped = (e) => {
            for (let p = e.parentElement; p; p = p.parentElement)
              if (/auto|scroll|hidden/.test(getComputedStyle(p).overflowX)) return true;
            return false;
          };
          return [...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > width + 1 && !clipped(e))
            .map((e) => e.outerHTML.slice(0, 120))
            .concat([`page ${document.documentElement.scrollWidth} > ${width}`]);
        }"""
    )


def accessibility(page: Any) -> list[str]:
    """List axe-core's violations, save those that are known to be the theme's."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    # Preloading makes axe fetch style sheets, which a browser refuses for files.
    result = Axe().run(page, options={"preload": False})
    for violation in result.response["violations"]:
        for node in violation["nodes"]:
            known = any(
                rule == violation["id"] and part in node["html"]
                for rule, part, _ in THEME_FINDINGS
            )
            if not known:
                summary = node["failureSummary"].replace("\n", " ")
                found.append(f"{violation['id']}: {node['html'][:160]} ({summary})")
    return found


@needs_book
@pytest.mark.parametrize(("name", "scheme", "width"), VIEWS)
def test_page_is_sound(
    contexts: dict[tuple[str, int], Any], name: str, scheme: str, width: int
) -> None:
    visit = Visit(contexts[scheme, width], name)
    page = visit.page
    try:
        assert page.locator("html").get_attribute("data-theme") == scheme
        assert too_wide(page) == []
        assert accessibility(page) == []
        # Formulas: as many as the page's source holds, all turned into glyphs.
        formulas = page.locator(".bd-content .math").count()
        assert page.locator(".bd-content .math mjx-container").count() >= formulas
        assert page.locator("mjx-merror").count() == 0
        # Alternative text: decoration says so with alt="".
        assert page.locator("img:not([alt])").count() == 0
        assert page.locator(".bd-content img[alt='']").count() == 0
        broken = "imgs => imgs.filter(i => i.complete && !i.naturalWidth).length"
        assert page.locator("img").evaluate_all(broken) == 0
        assert visit.complaints == []
    finally:
        page.close()


@needs_book
@pytest.mark.parametrize("name", PAGES)
def test_quiz_works_by_keyboard(
    contexts: dict[tuple[str, int], Any], name: str
) -> None:
    visit = Visit(contexts["light", 1280], name)
    page = visit.page
    try:
        choices = page.locator("details.quiz")
        if choices.count() == 0:
            if page.locator("h2", has_text=re.compile(r"^Quiz")).count():
                pytest.fail("a quiz without choices")
            return
        focused = "e => e === document.activeElement"
        for i in range(choices.count()):
            choice = choices.nth(i)
            summary = choice.locator("summary")
            if i == 0:
                summary.focus()
            for _ in range(LINKS_IN_A_QUESTION):  # a question may hold links
                if not summary.evaluate(focused):
                    page.keyboard.press("Tab")
            assert summary.evaluate(focused), "Tab does not lead to the next choice"
            assert choice.get_attribute("open") is None
            page.keyboard.press("Enter")
            assert choice.get_attribute("open") is not None
            feedback = choice.locator(":scope > p.quiz-right, :scope > p.quiz-wrong")
            assert feedback.first.is_visible()
            page.keyboard.press("Space")
            assert choice.get_attribute("open") is None
            if i == 0:
                outline = "e => getComputedStyle(e).outlineStyle"
                assert summary.evaluate(outline) != "none", "the focus is not visible"
            page.keyboard.press("Tab")
        assert visit.complaints == []
    finally:
        page.close()


@needs_book
def test_search_finds_a_page_offline(contexts: dict[tuple[str, int], Any]) -> None:
    visit = Visit(contexts["light", 1280], "search.html")
    try:
        visit.page.goto((HTML / "search.html").as_uri() + "?q=segmentation")
        results = visit.page.locator("#search-results ul.search li")
        results.first.wait_for(timeout=5000)
        assert results.count() >= 1
        assert visit.complaints == []
    finally:
        visit.page.close()


def test_check_sees_faults(browser: Any, tmp_path: Path) -> None:
    """The checks above can fail: a page with each fault is reported."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><html lang='en'><head><title>bad</title></head><body>"
        "<main><h1>Bad</h1><div style='width:900px'>wide</div><img src='none.png'>"
        "<p style='color:#ccc'>pale</p></main><script>console.error('no')</script>"
        "<script src='https://host.invalid/x.js'></script></body></html>",
        encoding="utf-8",
    )
    context = browser.new_context(viewport={"width": 390, "height": 900})
    try:
        visit = Visit(context, str(page))  # an absolute path replaces the book's folder
        assert any("page 9" in found for found in too_wide(visit.page))
        rules = {found.split(":")[0] for found in accessibility(visit.page)}
        assert {"image-alt", "color-contrast"} <= rules
        text = "\n".join(visit.complaints)
        assert "request to a host: https://host.invalid/x.js" in text
        assert "console error: no" in text
    finally:
        context.close()
