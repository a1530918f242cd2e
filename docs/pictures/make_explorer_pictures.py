"""Take the pictures of the explorer from the real page: explorer-light.png and explorer-dark.png.

An LSTM of 50 steps, with a loss at every step, is recorded cell by cell; the page is stepped back to time step 31.
Needs Playwright for Python (``pip install "tinygrad_rnn[browser]"``) and a Chromium: the one at CHROMIUM, if that is
set, at /usr/bin/chromium, or Playwright's own.

    python docs/pictures/make_explorer_pictures.py
"""

import os
import tempfile
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg

HERE = Path(__file__).resolve().parent
T, B, I, H = 50, 2, 4, 8
SIZE = {"width": 1440, "height": 900}


def write_page(folder: str) -> Path:
    """Record an LSTM that is asked at every step for the mean of its inputs so far, and write its explorer."""
    rng = np.random.default_rng(7)
    data = rng.normal(size=(T, B, I)).astype("float32")
    means = np.cumsum(data.mean(axis=2, keepdims=True), axis=0) / np.arange(1, T + 1, dtype="float32")[:, None, None]
    cell = tg.rnn.LSTMCell(I, H, rng=1)
    readout = tg.nn.Linear(H, 1, rng=2)
    xs, targets = tg.tensor(data), tg.tensor(means)
    with tg.Tape() as tape:
        hs, _ = tg.rnn.scan(cell, xs)
        errors = readout(hs) - targets
        losses = tg.mean(errors**2, axis=(1, 2))
        loss = tg.mean(losses)
    return tape.to_html(Path(folder) / "lstm.html", loss, losses=losses, title="LSTM, 50 steps")


def main() -> None:
    """Write both pictures beside this file."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or ("/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = write_page(folder)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(page_file.as_uri())
            page.fill("#query", "t=31 add bias_hh")
            page.keyboard.press("Enter")
            page.keyboard.press("Escape")
            page.keyboard.press("b")
            page.wait_for_timeout(300)  # colours fade over a moment
            page.screenshot(path=HERE / f"explorer-{scheme}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
