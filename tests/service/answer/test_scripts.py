"""Text search finds words of every script: without spaces, beside quotes, in capitals, in other widths."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from corpus.clean.cleaner import Cleaner
from tests.support.pipeline import Event, Pipeline, make_event

pytestmark = pytest.mark.service

# One document per script and a second one of it, so that a hit is a choice. The language is that of the source, or of
# the document, whose name is its tag.
TEXTS = {
    "zh": (
        "simple",
        "水库的闸门在夜间由值班人员打开，下游村庄事先收到通知。请看《运行手册》第３章。",
    ),
    "zh-2": ("simple", "图书馆周末开放，读者可以借阅五本书。"),
    "zh-tw": ("simple", "水庫的閘門每年檢修一次，「夜班」人員負責記錄水位。"),
    "ja": (
        "simple",
        "夜間に水門を開ける前に、下流の村へ連絡します。ゲートの点検はｶﾞｲﾄﾞに従います。",
    ),
    "ja-2": ("simple", "図書館は週末も開いています。会員カードを作れます。"),
    "th": (
        "simple",
        "เจ้าหน้าที่เปิดประตูน้ำในเวลากลางคืน และแจ้งหมู่บ้านท้ายน้ำล่วงหน้า ปี ๒๕๖๗",
    ),
    "th-2": ("simple", "ห้องสมุดเปิดวันเสาร์ สมาชิกยืมหนังสือได้ห้าเล่ม"),
    "lo": ("simple", "ພະນັກງານເປີດປະຕູນ້ຳໃນຕອນກາງຄືນ"),
    "km": ("simple", "បុគ្គលិកបើកទ្វារទឹកនៅពេលយប់"),
    "my": ("simple", "ဝန်ထမ်းများသည် ညအချိန်တွင် ရေတံခါးကို ဖွင့်သည်"),
    "ru": ("russian", "Дежурный открывает «шлюз» ночью — деревни предупреждены. ШЁПОТ ВОДЫ."),
    "ru-2": ("russian", "Библиотека открыта по субботам."),
    "de": ("german", "Die „Schleuse“ wird nachts geöffnet—Ölstand prüfen. ÄRZTE warten. STRASSEN."),
    "de-2": ("german", "Die Bücherei hat samstags geöffnet."),
    "tr": (
        "turkish",
        "Bekçi ‘savak’ kapağını gece açar; köyler önceden uyarılır. ÇİÇEK, ŞİŞE, ĞÜÖ.",
    ),
    "tr-2": ("turkish", "Kütüphane cumartesi açıktır."),
    "en": (
        "english",
        "The keeper opened the “sluice” at night: gate—then bell. Café ＷＩＤＥ ２０２６.",
    ),
    "en-2": ("english", "The library is open on Saturdays."),
}
LANGUAGES = sorted({language for language, _ in TEXTS.values()})
# What is asked, and the document that must come first.
QUESTIONS = [
    ("闸门", "zh"),
    ("水库", "zh"),
    ("库", "zh"),
    ("村庄", "zh"),
    ("值班人员打开闸门", "zh"),
    ("《运行手册》", "zh"),
    ("运行 手册", "zh"),
    ("第3章", "zh"),
    ("书", "zh-2"),
    ("借阅", "zh-2"),
    ("閘門", "zh-tw"),
    ("夜班", "zh-tw"),
    ("檢修", "zh-tw"),
    ("水門", "ja"),
    ("下流の村", "ja"),
    ("村", "ja"),
    ("ゲート", "ja"),
    ("ガイド", "ja"),
    ("ｹﾞｰﾄ", "ja"),
    ("「点検」", "ja"),
    ("図書館", "ja-2"),
    ("会員カード", "ja-2"),
    ("ประตูน้ำ", "th"),
    ("“ประตูน้ำ”", "th"),
    ("หมู่บ้าน", "th"),
    ("น้ำ", "th"),
    ("กลางคืน", "th"),
    ("๒๕๖๗", "th"),
    ("หนังสือ", "th-2"),
    ("ยืม หนังสือ", "th-2"),
    ("ປະຕູນ້ຳ", "lo"),
    ("ກາງຄືນ", "lo"),
    ("ទ្វារទឹក", "km"),
    ("យប់", "km"),
    ("ရေတံခါး", "my"),
    ("ဝန်ထမ်း", "my"),
    ("шлюз", "ru"),
    ("«ШЛЮЗ»", "ru"),
    ("Шлюзы", "ru"),
    ("шёпот", "ru"),
    ("ночью—деревни", "ru"),
    ("БИБЛИОТЕКИ", "ru-2"),
    ("Schleuse", "de"),
    ("schleusen", "de"),
    ("„SCHLEUSE“", "de"),
    ("ölstand", "de"),
    ("ÖLSTAND", "de"),
    ("ärzte", "de"),
    ("Straßen", "de"),
    ("BÜCHEREI", "de-2"),
    ("savak", "tr"),
    ("SAVAK", "tr"),
    ("çiçek", "tr"),
    ("şişe", "tr"),
    ("ğüö", "tr"),
    ("kütüphane", "tr-2"),
    ("sluice", "en"),
    ("‘sluice’", "en"),
    ("gate", "en"),
    ("bell", "en"),
    ("CAFÉ", "en"),
    ("wide", "en"),
    ("ｓｌｕｉｃｅ", "en"),
    ("2026", "en"),
    ("２０２６", "en"),
    ("saturday", "en-2"),
]


@pytest.fixture(scope="module", params=["a source per language", "one source for all"])
def corpus(
    request: pytest.FixtureRequest,
    postgres_server: Any,
    postgres_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pipeline]:
    """All texts; the pipeline of one source searches all."""
    postgres_server.create_database("scripts", template="freshet")
    url = postgres_server.url_of("scripts")
    folder = tmp_path_factory.mktemp("scripts")
    is_one = request.param == "one source for all"
    with Cleaner(processes=1) as cleaner, ExitStack() as opened:
        pipelines = [
            opened.enter_context(
                Pipeline(
                    url, folder, source=language, cleaner=cleaner, text_search_language=language
                )
            )
            for language in (["english"] if is_one else LANGUAGES)
        ]
        for pipeline in pipelines:
            language = pipeline.spec.text_search_language
            names = [name for name in TEXTS if is_one or TEXTS[name][0] == language]
            pipeline.ingest(*(event(name, with_language=is_one) for name in names))
        yield pipelines[0]
    postgres_server.drop_database("scripts")


def event(name: str, *, with_language: bool) -> Event:
    stated = {"language": name.removesuffix("-2")} if with_language else {}
    return make_event(name, 1, TEXTS[name][1], content_type="text/plain", title="", **stated)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: "-".join(question))
def test_a_word_finds_its_text(corpus: Pipeline, question: tuple[str, str]) -> None:
    words, expected = question
    hits = corpus.search(words, mode="text", k=3)
    assert [hit.document_id for hit in hits][:1] == [expected]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: "-".join(question))
def test_hybrid_knows_what_text_knows(corpus: Pipeline, question: tuple[str, str]) -> None:
    """The vectors say nothing here; what text finds is among the first all the same."""
    words, expected = question
    hits = corpus.search(words, mode="hybrid", k=5)
    assert expected in [hit.document_id for hit in hits]


@pytest.mark.parametrize("words", ["车站", "駅", "สนามบิน", "ヨット", "အိမ်"])
def test_words_that_no_text_has_find_nothing(corpus: Pipeline, words: str) -> None:
    assert corpus.search(words, mode="text") == ()


def terms(connection: psycopg.Connection[Any], text: str) -> set[str]:
    row = connection.execute(
        "SELECT tsvector_to_array(freshet.search_text('simple', %s))", (text,)
    ).fetchone()
    assert row is not None
    return set(row[0])


def asked(connection: psycopg.Connection[Any], text: str) -> set[str]:
    row = connection.execute("SELECT freshet.search_terms('simple', %s)", (text,)).fetchone()
    assert row is not None
    return set(row[0])


@pytest.mark.parametrize("language", ["simple", "english", "german", "russian", "turkish"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "The keeper's well-kept sluice: 3.14 km, https://example.org/a?b=c, ada@example.org",
        "“Quotes” — dashes… Ölstand, ŞİŞE, шлюз, ß, ﬁne, m², ½, naïve cafe\u0301",
        "한국어 문장은 띄어쓰기를 합니다. ελληνικά, עברית, العربية, हिन्दी में, አማርኛ",
        "emoji 👩\u200d🔧 and \u200bjoiners, soft\u00adhyphen, ・ 。 、",
    ],
)
def test_other_scripts_have_the_terms_of_before(corpus: Pipeline, language: str, text: str) -> None:
    row = corpus.connection.execute(
        """SELECT freshet.search_text(%(language)s::regconfig, %(text)s) = made,
                  freshet.search_terms(%(language)s::regconfig, %(text)s) = tsvector_to_array(made)
           FROM to_tsvector(%(language)s::regconfig, %(text)s) AS made""",
        {"language": language, "text": text},
    ).fetchone()
    assert row == (True, True)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("水\n门", "水门"),  # a wrapped line
        ("水 门", "水门"),  # as cleaning joins wrapped lines
        ("ประตู\u200bน้ำ", "ประตูน้ำ"),  # a mark where a line may break
        ("葛\U000e0100城", "葛城"),  # a variant of a character
        ("ガイド", "か\u3099イト\u3099".replace("か", "カ")),  # marks as characters of their own
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("\uf9dcする", "隆する"),  # a compatibility character
        ("𠮷野家", "𠮷野"),  # outside the basic plane
        ("ขอบคุณครับ", "คุณ"),
        ("Python入門", "python"),
        ("Python入門", "入門"),
        ("第３章", "第3章"),
        ("ＡＢＣ", "abc"),
        ("人々", "人々"),
    ],
)
def test_terms_of_a_question_are_those_of_the_text(
    corpus: Pipeline, text: str, question: str
) -> None:
    assert asked(corpus.connection, question) <= terms(corpus.connection, text)


def test_pairs_do_not_reach_over_what_stands_between(corpus: Pipeline) -> None:
    found = terms(corpus.connection, "水。门，库\n\n闸 a 村")
    assert found == {"水", "门", "库", "闸", "a", "村"}
    assert asked(corpus.connection, "水 门") == {"水", "门"}


@pytest.mark.parametrize(
    "piece", ["水庫的閘門", "ประตูน้ำ", "水 ", "ゲー\u3099", "ទ្វារ", "的\u200b", "\u0e48", "ｗ"]
)
def test_a_text_of_any_length_is_taken(corpus: Pipeline, piece: str) -> None:
    row = corpus.connection.execute(
        "SELECT freshet.search_text('simple', repeat(%(piece)s, 100000)) IS NOT NULL",
        {"piece": piece},
    ).fetchone()
    assert row == (True,)


def test_a_long_text_of_both_kinds_is_taken(corpus: Pipeline) -> None:
    """More terms than a tsvector holds: characters that never repeat, and words that never repeat."""
    rare = "".join(chr(0x20000 + n % 42_000) for n in range(0, 400_000, 10))
    words = " ".join(f"水{n:x}ш{n * 7:x}щ-ж{n * 13:x}" for n in range(8_000))
    for text in (rare, words, rare + words, words + rare):
        row = corpus.connection.execute(
            "SELECT length(freshet.search_text('simple', %s))", (text,)
        ).fetchone()
        assert row is not None
        assert row[0] > 4_000
