"""Take the README's pictures from the real demo: `make pictures`, about five minutes.

The demo runs four quiet minutes, then its fault; the pictures show it just after the alert was delivered.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from ninesight_suite.testing import BROWSER_ARGUMENTS, eventually
from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parent / "images"
PAGES = "http://127.0.0.1:29900"
API = "http://127.0.0.1:29901"
QUIET_S = 240.0


def fired() -> bool:
    """Say whether the demo's alert is firing."""
    import httpx2

    try:
        alerts = httpx2.get(f"{API}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
    except (httpx2.HTTPError, KeyError, ValueError):
        return False
    return any(alert["state"] == "firing" for alert in alerts)


def take(browser: Browser, path: str, name: str, scheme: str, height: int) -> None:
    """Write one picture once the page shows figures."""
    page = browser.new_page(viewport={"width": 1600, "height": height}, color_scheme=scheme)
    page.goto(PAGES + path)
    page.locator("text=ranker-heavy >> visible=true").first.wait_for(timeout=30_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(3000)  # One refresh: the live dot and every chart are drawn.
    page.screenshot(path=str(IMAGES / name))
    page.close()


def main() -> int:
    """Run the demo, take the pictures, stop it."""
    IMAGES.mkdir(exist_ok=True)
    command = [
        "demo",
        "--listen",
        "127.0.0.1:29901",
        "--pages",
        "127.0.0.1:29900",
        "--folder",
        ".demo-pictures",
    ]
    quiet = ["--fault-after", f"{QUIET_S:g}", "--seconds", "600"]
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("taking pictures needs chromium; install it first\n")
        return 2
    demo = subprocess.Popen([sys.executable, "-m", "ninesight_suite.cli", *command, *quiet])
    try:
        eventually(fired, timeout_s=QUIET_S + 180, what="the alert")
        time.sleep(1.0)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
            take(browser, "/?from=now-5m&to=now", "overview.png", "dark", 900)
            take(browser, "/model/ranker-heavy?from=now-5m&to=now", "model.png", "light", 1040)
            browser.close()
    finally:
        demo.terminate()
        demo.wait(30)
    return 0


if __name__ == "__main__":
    sys.exit(main())
