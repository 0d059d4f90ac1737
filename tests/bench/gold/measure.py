"""Extracts the main text of each page with one extractor and scores it; runs where that extractor is installed.

`python measure.py PAGES EXTRACTOR`: prints JSON: per page precision, recall and F1 of its words (of its characters, in
scripts without spaces), as a bag; and the rate, in megabytes of source per CPU second.
"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_WORD = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+"
)
_ROUNDS = 3


def _freshet() -> Callable[[str], str]:
    from corpus.clean.html import clean_html

    return lambda html: clean_html(html, main=True, max_nesting=512).text


def _trafilatura() -> Callable[[str], str]:
    from trafilatura import extract

    return lambda html: extract(html, favor_recall=False, include_comments=False) or ""


def _resiliparse() -> Callable[[str], str]:
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(html, main_content=True)


EXTRACTORS = {"freshet": _freshet, "trafilatura": _trafilatura, "resiliparse": _resiliparse}


def words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text))


def score(text: str, gold: str) -> tuple[float, float, float]:
    """Return precision, recall and F1."""
    extracted, wanted = words(text), words(gold)
    common = sum((extracted & wanted).values())
    if not common:
        return 0.0, 0.0, 0.0
    precision = common / sum(extracted.values())
    recall = common / sum(wanted.values())
    return precision, recall, 2 * precision * recall / (precision + recall)


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    extract = EXTRACTORS[name]()
    pages = {
        str(path.relative_to(folder).with_suffix("")): path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*/*.html"))
    }
    texts = {page: extract(html) for page, html in pages.items()}
    fastest = min(_seconds(extract, list(pages.values())) for _ in range(_ROUNDS))
    size = sum(len(html.encode()) for html in pages.values())
    scores = {
        page: score(text, (folder / f"{page}.txt").read_text(encoding="utf-8"))
        for page, text in texts.items()
    }
    json.dump({"scores": scores, "MB per CPU second": size / 1e6 / fastest}, sys.stdout)


def _seconds(extract: Callable[[str], str], pages: list[str]) -> float:
    started = time.process_time()
    for html in pages:
        extract(html)
    return time.process_time() - started


if __name__ == "__main__":
    main()
