"""A headless browser for the tests that look at pages; they skip, saying so, where there is none."""

import os
import shutil

import pytest


def chromium():
    """The browser's path: CHROMIUM, or what is on the PATH; skips if there is none."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("no browser: install Debian's chromium, or set CHROMIUM to one")
    return path
