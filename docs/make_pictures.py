"""Make the pictures of the mails in this directory, from the sample farm of the tests.

It needs Chromium: PYTHONPATH=.:tests/unit .venv/bin/python docs/make_pictures.py
The pictures of the reports are made by make_screens.py.
"""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from reports_samples import ten_drives

from plotfarm.reports import mails

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-lcd-text")  # root gets no sandbox
MAIL_WIDTH, PHONE_WIDTH = 700, 375  # pixels


def main() -> None:
    """Make them all."""
    farm = ten_drives()
    daily = mails.daily_update(farm)
    new = mails.plot_drive_changed(farm, farm.drives[3], farm.drives[3].drive.mountpoint)
    take(daily.html, MAIL_WIDTH, "daily_mail.png")
    take(daily.html, PHONE_WIDTH, "daily_mail_phone.png")
    take(new.html, MAIL_WIDTH, "new_drive_mail.png")


def take(page: str, width: int, name: str) -> None:
    """Show a page in a frame, which may be narrower than Chromium's windows, and take a picture of all of it."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "page.html"
        script = "onload = () => document.title = frames[0].document.documentElement.scrollHeight"
        file.write_text(framed(page, width, 100) + f"<script>{script}</script>")
        shown = subprocess.run([*CHROMIUM, "--dump-dom", file.as_uri()], capture_output=True, text=True, check=True)
        height = int(re.findall(r"<title>(\d+)</title>", shown.stdout)[0])
        file.write_text(framed(page, width, height))
        target = [f"--screenshot={HERE / name}", f"--window-size={width},{height}"]
        subprocess.run([*CHROMIUM, *target, file.as_uri()], capture_output=True, check=True)


def framed(page: str, width: int, height: int) -> str:
    """Return a page that holds nothing but another one, `width` x `height` pixels."""
    style = f"display:block;border:0;width:{width}px;height:{height}px"
    return (
        f'<!DOCTYPE html><title></title><body style="margin:0"><iframe style="{style}" srcdoc="{html.escape(page)}">'
        "</iframe>"
    )


if __name__ == "__main__":
    main()
