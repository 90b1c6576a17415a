"""A headless Chromium for tests: what a person would see, and what assistive technology is told.

.. code-block:: python

    with Browser() as browser:
        browser.show(width=390, height=844, scheme="dark")
        browser.open("http://127.0.0.1:8080/")
        assert browser.faults() == []

Needs Debian's ``chromium`` and ``chromium-driver``, and the Python package ``selenium``; says what
is missing where it cannot start.
"""

from __future__ import annotations

import base64
import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
)
WIDGETS = ("link", "button", "searchbox", "textbox", "checkbox", "combobox", "radio", "tab")
"""Roles of the accessibility tree that a person can operate."""

# Text whose contrast with what lies behind it is below what WCAG asks at level AA.
_CONTRAST = """
const parse = (text) => {
  const n = text.match(/[\\d.]+/g).map(Number);
  return { r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1 };
};
const over = (top, below) => {
  const a = top.a + below.a * (1 - top.a);
  const mix = (k) => a ? (top[k] * top.a + below[k] * below.a * (1 - top.a)) / a : 0;
  return { r: mix("r"), g: mix("g"), b: mix("b"), a };
};
const luminance = (c) => {
  const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  return 0.2126 * f(c.r) + 0.7152 * f(c.g) + 0.0722 * f(c.b);
};
const ratio = (one, two) => {
  const [a, b] = [luminance(one), luminance(two)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const behind = (element) => {
  let colour = { r: 0, g: 0, b: 0, a: 0 };
  for (let e = element; e; e = e.parentElement) {
    const style = getComputedStyle(e);
    if (style.backgroundImage !== "none" || style.opacity !== "1") return null;
    colour = over(colour, parse(style.backgroundColor));
    if (colour.a >= 1) break;
  }
  return over(colour, { r: 255, g: 255, b: 255, a: 1 });
};
"""
_TEXT_CONTRAST = (
    _CONTRAST
    + """
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  if (!node.data.trim() || !element.checkVisibility() || element.closest("script, style")) continue;
  const ground = behind(element);
  if (!ground) { found.push([node.data.trim(), 0]); continue; }
  const value = ratio(over(parse(getComputedStyle(element).color), ground), ground);
  if (value < arguments[0]) found.push([node.data.trim(), Math.round(value * 100) / 100]);
}
for (const field of document.querySelectorAll("input:not([hidden])")) {
  if (!field.checkVisibility()) continue;
  const ground = behind(field);
  for (const pseudo of [null, "::placeholder"]) {
    const value = ratio(parse(getComputedStyle(field, pseudo).color), ground);
    if (value < arguments[0]) found.push([field.placeholder, Math.round(value * 100) / 100]);
  }
}
return found;
"""
)
# What has the focus, and how that shows.
_FOCUSED = (
    _CONTRAST
    + """
const e = document.activeElement;
if (!e || e === document.body) return null;
const style = getComputedStyle(e), box = e.getBoundingClientRect();
const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
const ground = behind(e.parentElement);
return {
  index: window.focusable.indexOf(e),
  text: (e.ariaLabel || e.textContent || e.placeholder || e.tagName).trim(),
  ratio: outlined && ground ? ratio(parse(style.outlineColor), ground) : 0,
  seen: box.width > 0 && box.height > 0 && box.left >= 0 && box.right <= innerWidth
    && box.bottom > 0 && box.top < innerHeight,
};
"""
)
_FOCUSABLE = """
window.focusable = Array.from(
  document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")
).filter((e) => e.checkVisibility() && !e.disabled);
return window.focusable.map((e) => (e.ariaLabel || e.textContent || e.placeholder).trim());
"""


class Browser:
    """One headless Chromium with a fresh profile; a context manager.

    resolve
        Names to addresses, past the system's resolver: ``{"*.pigsty": "10.10.10.10"}``.
    insecure
        Take any certificate.
    flags
        Further flags of Chromium.
    within
        Command that runs Chromium in a place of its own, such as the network of a lab.

    Raises RuntimeError that names what is missing, or what Chromium said.
    """

    def __init__(
        self,
        resolve: Mapping[str, str] | None = None,
        insecure: bool = False,
        flags: Sequence[str] = (),
        within: Sequence[str] = (),
    ) -> None:
        for program, package in ((CHROMIUM, "chromium"), (CHROMEDRIVER, "chromium-driver")):
            if not program.exists():
                raise RuntimeError(f"{program} is missing: apt-get install {package}")
        try:
            from selenium import webdriver
            from selenium.common.exceptions import WebDriverException
        except ImportError as err:
            raise RuntimeError(f"{err}: pip install selenium") from err
        self._profile = tempfile.TemporaryDirectory(prefix="infra-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        if within:
            # chromedriver stays here, and reaches it by a pipe.
            options.add_argument("--remote-debugging-pipe")
            wrapper = Path(self._profile.name, "chromium")
            wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*within, str(CHROMIUM)])} "$@"\n')
            wrapper.chmod(0o700)
            options.binary_location = str(wrapper)
        for flag in (*_FLAGS, f"--user-data-dir={self._profile.name}/data", *flags):
            options.add_argument(flag)
        if resolve:
            rules = ",".join(f"MAP {name} {address}" for name, address in resolve.items())
            options.add_argument(f"--host-resolver-rules={rules}")
        if insecure:
            options.add_argument("--ignore-certificate-errors")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(executable_path=str(CHROMEDRIVER))
        try:
            self.driver = webdriver.Chrome(options=options, service=service)
        except WebDriverException as err:
            self._profile.cleanup()
            raise RuntimeError(f"Chromium does not start: {err.msg}") from err
        self.driver.set_page_load_timeout(60)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End Chromium and remove its profile."""
        self.driver.quit()
        self._profile.cleanup()

    def cdp(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command of the Chrome DevTools protocol; returns its answer."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def show(self, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Set the size of the view and the preferred colour scheme, ``light`` or ``dark``."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.cdp(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def scripts(self, enabled: bool) -> None:
        """Let pages run JavaScript, or not; our own questions to the page work either way."""
        self.cdp("Emulation.setScriptExecutionDisabled", value=not enabled)

    def open(self, url: str) -> None:
        """Load a page; forgets what earlier pages logged and asked for."""
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; returns what it returns."""
        return self.driver.execute_script(script, *arguments)

    def lang(self) -> str:
        """The language that the page says it is in."""
        return self.run("return document.documentElement.lang")

    def text(self) -> str:
        """The text of the page as it is laid out."""
        return self.run("return document.body.innerText")

    def faults(self) -> list[str]:
        """Errors and warnings on the console since the page was opened."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """URLs that were asked of the network since the page was opened."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if urlsplit(url).scheme not in ("data", "about", "blob")]

    def links(self) -> list[str]:
        """Where the links of the page lead, without repetition."""
        found = self.run("return Array.from(document.querySelectorAll('a[href]'), (a) => a.href)")
        return list(dict.fromkeys(found))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the view."""
        # Not innerWidth: a phone zooms out, until what is too wide fits.
        return self.run(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
        )

    def small_targets(self, size: int = 24) -> list[str]:
        """Visible links and controls that are less than ``size`` pixels wide or high."""
        return self.run(
            _FOCUSABLE.replace("return window", "window")
            + """
            return window.focusable.filter((e) => {
              const box = e.getBoundingClientRect();
              return box.bottom > 0 && (box.width < arguments[0] || box.height < arguments[0]);
            }).map((e) => e.outerHTML);
            """,
            size,
        )

    def low_contrast(self, least: float = 4.5) -> list[tuple[str, float]]:
        """Visible texts whose contrast is below ``least``, with it; 0 where it cannot be told."""
        return [(text, ratio) for text, ratio in self.run(_TEXT_CONTRAST, least)]

    def accessible(self) -> list[dict[str, str]]:
        """The accessibility tree: role and name of each node that is not ignored."""
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node.get("role", {}).get("value", ""),
                "name": node.get("name", {}).get("value", "").strip(),
            }
            for node in nodes
            if not node.get("ignored")
        ]

    def nameless(self) -> list[str]:
        """Roles of what can be operated but has no accessible name."""
        return [n["role"] for n in self.accessible() if n["role"] in WIDGETS and not n["name"]]

    def focusable(self) -> list[str]:
        """Texts of what the keyboard should reach, in the order of the page."""
        return self.run(_FOCUSABLE)

    def tab_through(self) -> list[dict[str, Any]]:
        """Press Tab until the page is left.

        Returns for each stop its ``index`` in :meth:`focusable`, its ``text``, the contrast
        ``ratio`` of its focus ring (0 for none) and whether it is ``seen`` in the view.
        """
        from selenium.webdriver import ActionChains, Keys

        expected = len(self.focusable())
        self.run("scrollTo(0, 0); document.activeElement.blur()")
        stops: list[dict[str, Any]] = []
        for _ in range(expected + 5):
            ActionChains(self.driver, duration=0).send_keys(Keys.TAB).perform()
            stop = self.run(_FOCUSED)
            if stop is None or (stops and stop["index"] == stops[0]["index"]):
                break
            stops.append(stop)
        return stops

    def screenshot(self, path: str | Path, whole: bool = True) -> None:
        """Save a PNG of the whole page, or of the view alone."""
        answer = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(answer["data"]))
