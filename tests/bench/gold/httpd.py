"""The httpd manual as gold pages: its generator marks what is text, what is navigation and what are translations."""

from pathlib import Path

from tests.bench import data
from tests.bench.gold.render import main_text

_NO_TEXT = ("toplang", "bottomlang", "toc", "top", "up")
_EVERY = 6


def write_pages(folder: Path) -> None:
    """Write every sixth page of the manual and its main text to `folder`/httpd."""
    site = folder / "httpd"
    site.mkdir(parents=True, exist_ok=True)
    for number, event in enumerate(data.events("html/httpd.base.jsonl.zst")):
        html = event["content"]
        if number % _EVERY or 'id="page-content"' not in html:
            continue
        text = main_text(html, only="page-content", without=_NO_TEXT)
        (site / f"{number}.html").write_text(html, encoding="utf-8")
        (site / f"{number}.txt").write_text(text, encoding="utf-8")
