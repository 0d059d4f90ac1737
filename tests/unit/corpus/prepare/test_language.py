"""The language of a document: from its event, from its text, or from its source; and which text it is detected in."""

import time

import pytest

from corpus.errors import ConfigurationError
from corpus.prepare import detector
from corpus.prepare.detector import detected_language
from corpus.prepare.heads import Head
from corpus.prepare.language import Language, Languages, Note, Origin
from corpus.source import SourceSpec

KNOWN = {"simple", "english", "german", "russian"}
SPEC = SourceSpec(source="s", topics=("t",))
DETECTING = SourceSpec(source="s", topics=("t",), detect_language=True)
OF_SOURCE = Language("english", Origin.SOURCE)
UNSURE = Language("english", Origin.SOURCE, Note.UNSURE)
UNKNOWN = Language("english", Origin.SOURCE, Note.UNKNOWN)


def detect(text: str) -> str | None:
    """A text that is the code of its language."""
    return text or None


def head(language: str | None, origin: str | None, note: str | None = None) -> Head:
    return Head(
        document_id="a",
        document_key=1,
        version=1,
        visible=True,
        expired=False,
        content_sha256=b"",
        cleaned_sha256=b"",
        pipeline="",
        space_id=1,
        content_type=None,
        language=language,
        language_from=origin,
        language_note=note,
    )


@pytest.mark.parametrize(
    ("spec", "stated", "text", "expected"),
    [
        (SPEC, None, "de", OF_SOURCE),
        (SPEC, "und", "de", OF_SOURCE),
        (SPEC, "de", "ru", Language("german", Origin.EVENT)),
        (SPEC, "th", "ru", Language("simple", Origin.EVENT)),
        (SPEC, "tlh", "de", UNKNOWN),
        (DETECTING, None, "de", Language("german", Origin.DETECTED)),
        (DETECTING, "mul", "de", Language("german", Origin.DETECTED)),
        (DETECTING, None, "yue", Language("simple", Origin.DETECTED)),
        (DETECTING, None, "", UNSURE),
        (DETECTING, "ru", "de", Language("russian", Origin.EVENT)),
        (DETECTING, "tlh", "de", UNKNOWN),
    ],
)
def test_the_language_of_a_document(
    spec: SourceSpec, stated: str | None, text: str, expected: Language
) -> None:
    assert Languages(spec, KNOWN, detect).of(stated, text) == expected


@pytest.mark.parametrize(
    ("spec", "version", "expected"),
    [
        (SPEC, head("german", "detected"), OF_SOURCE),
        (SPEC, head("german", "event"), OF_SOURCE),
        (DETECTING, head("german", "detected"), Language("german", Origin.DETECTED)),
        (DETECTING, head("english", "source", "unsure"), UNSURE),
        # The language of this text was never looked for.
        (DETECTING, head("german", "event"), None),
        (DETECTING, head("english", "source"), None),
        (DETECTING, head("english", "source", "unknown"), None),
        (DETECTING, head(None, None), None),
    ],
)
def test_a_text_that_stays_keeps_what_was_detected(
    spec: SourceSpec, version: Head, expected: Language | None
) -> None:
    assert Languages(spec, KNOWN, detect).without_text(None, version) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The keeper opens the sluice at night and warns the villages below.", "en"),
        ("Der Wärter öffnet die Schleuse nachts und warnt die Dörfer unterhalb.", "de"),
        ("Дежурный открывает шлюз ночью и предупреждает деревни ниже.", "ru"),
        ("Bekçi savak kapağını gece açar ve aşağıdaki köyleri uyarır.", "tr"),
        ("Le gardien ouvre la vanne la nuit et prévient les villages en aval.", "fr"),
        ("水库的闸门在夜间由值班人员打开，下游村庄事先收到通知。", "zh"),
        ("夜間に水門を開ける前に、下流の村へ連絡します。", "ja"),
        ("เจ้าหน้าที่เปิดประตูน้ำในเวลากลางคืนและแจ้งหมู่บ้านท้ายน้ำล่วงหน้า", "th"),
        ("", None),
        ("x", None),
        ("v1.2.3-rc4", None),
        ("0x1f 3b 77 ee 12 2026-11-26", None),
        ("gatectl --site north --close", None),
        ("SELECT a, b FROM t WHERE c = 1", None),
        ("Müller, Smith, Ivanov", None),
    ],
)
def test_the_library_knows_short_texts_and_what_is_none(text: str, code: str | None) -> None:
    assert detected_language(text) == code


def test_a_text_is_judged_by_its_beginning_middle_and_end() -> None:
    german = "Der Wärter öffnet die Schleuse nachts und warnt die Dörfer unterhalb des Wehrs. "
    assert detected_language("import os\nprint(os.environ)\n\n" + german * 5_000) == "de"
    text = "a" * 400 + "b" * 400 + "c" * 400
    sample = detector.language_sample(text)
    assert sample == " ".join(("a" * 300, "b" * 300, "c" * 300))
    assert detector.language_sample(sample) == sample
    started = time.perf_counter()
    detected_language(german * 200_000)
    assert time.perf_counter() - started < 1


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> None:
        raise ModuleNotFoundError(name)

    detector._identifier.cache_clear()
    monkeypatch.setattr(detector, "import_module", without)
    with pytest.raises(ConfigurationError, match=r"needs the package py3langid; install"):
        detected_language("text")
