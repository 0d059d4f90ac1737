"""What a model has no word for, in tokens and in characters; the model is the bundled one, all-MiniLM-L6-v2."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from corpus.chunk import Chunk
from corpus.clean.blocks import CleanedDocument
from corpus.clean.plain import plain_blocks
from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec
from corpus.split.splitter import split
from corpus.split.unknown import UnknownText, unknown_text

TEXTS = {
    "english": "The sluice opens when the water falls below the mark.",
    "markdown": "# Sluices\n\n- `open(gate)` *opens* the gate\n- [guide](https://example.org/a_b?c=1)",
    "code": "def level(gate: Gate) -> float:\n    return {g.id: g.level}[gate.id] * 1e-3",
    "german": "Die Schleuse öffnet sich, wenn der Wasserstand fällt; Grüße!",
    "turkish": "Su seviyesi işaretin altına düştüğünde savak kapağı açılır.",
    "russian": "Шлюз открывается, когда уровень воды падает ниже отметки.",
    "greek": "Το φράγμα ανοίγει όταν η στάθμη του νερού πέφτει.",
    "arabic": "يفتح السد عندما ينخفض مستوى الماء تحت العلامة.",
    "hindi": "जब पानी का स्तर गिरता है तो बांध खुल जाता है।",
    "japanese": "水位が手引きに示された印より下がると、水門は自動的に開きます。",
    "chinese": "当水位下降到手册中标注的刻度以下时，闸门会自动打开。",
    "thai": "ประตูระบายน้ำจะเปิดเมื่อระดับน้ำลดลงต่ำกว่าเครื่องหมายในคู่มือ",
    "khmer": "នៅពេលកម្រិតទឹកធ្លាក់ចុះ ទ្វារទឹកបើក។",
    "emoji": "🎉 🚀 ✅ 🤖",
}
# Scripts whose letters are in the vocabulary are spelled, letter by letter: nothing is unknown.
KNOWN = ("english", "markdown", "code", "german", "turkish", "russian", "greek", "arabic", "hindi")
SPELLED = ("russian", "greek", "arabic", "hindi")


@pytest.fixture(scope="module")
def tokenizer() -> ChunkTokenizer:
    return load_tokenizer(SourceSpec(source="s", topics=("s",)).model)


def chunks_of(text: str, tokenizer: ChunkTokenizer) -> list[Chunk]:
    document = CleanedDocument(text, plain_blocks(text))
    return split(document, tokenizer, PreparationSpec())


def read(text: str, tokenizer: ChunkTokenizer) -> UnknownText:
    return unknown_text(chunks_of(text, tokenizer), tokenizer)


def visible(text: str) -> int:
    return len("".join(text.split()))


@pytest.mark.parametrize("language", KNOWN)
def test_nothing_is_unknown_in_a_script_of_the_vocabulary(
    language: str, tokenizer: ChunkTokenizer
) -> None:
    unknown = read(TEXTS[language], tokenizer)
    assert (unknown.unknown_tokens, unknown.unknown_characters) == (0, 0)
    assert unknown.tokens > 0


@pytest.mark.parametrize("language", ["thai", "khmer", "emoji"])
def test_a_script_outside_the_vocabulary_is_unknown_to_the_last_character(
    language: str, tokenizer: ChunkTokenizer
) -> None:
    text = TEXTS[language]
    assert read(text, tokenizer).unknown_characters == visible(text)


@pytest.mark.parametrize(("language", "least"), [("japanese", 0.1), ("chinese", 0.5)])
def test_of_a_script_that_is_known_in_part_a_part_is_counted(
    language: str, least: float, tokenizer: ChunkTokenizer
) -> None:
    text = TEXTS[language]
    assert least < read(text, tokenizer).unknown_characters / visible(text) < 1


def test_a_sentence_of_thai_is_one_token_and_all_its_characters(tokenizer: ChunkTokenizer) -> None:
    """Beside as much English, tokens say that a tenth is unknown and characters that half is."""
    english = TEXTS["english"]
    unknown = read(f"{english} {TEXTS['thai']}", tokenizer)
    assert unknown.unknown_tokens == 1
    assert unknown.unknown_tokens / unknown.tokens < 0.1
    assert unknown.unknown_characters == visible(TEXTS["thai"])


@pytest.mark.parametrize("language", SPELLED)
def test_what_is_spelled_has_as_many_tokens_as_letters(
    language: str, tokenizer: ChunkTokenizer
) -> None:
    """That no token is unknown does not mean that a model knows the language: this figure shows it."""
    text = TEXTS[language]
    assert read(text, tokenizer).tokens / visible(text) > 0.8
    english = TEXTS["english"]
    assert read(english, tokenizer).tokens / visible(english) < 0.35


def test_many_chunks_have_the_sum_of_their_counts(tokenizer: ChunkTokenizer) -> None:
    text = "\n\n".join([TEXTS["thai"], TEXTS["english"]] * 60)
    chunks = chunks_of(text, tokenizer)
    assert len(chunks) > 2
    assert unknown_text(chunks, tokenizer).unknown_characters == 60 * visible(TEXTS["thai"])


def test_of_a_truncated_chunk_the_part_that_is_read_counts(tokenizer: ChunkTokenizer) -> None:
    text = f"{TEXTS['english']} {TEXTS['thai']}"
    ids, _ = tokenizer.encode(text)
    chunk = Chunk(0, text, tuple(ids[:-1]), truncated=True)
    assert unknown_text([chunk], tokenizer) == UnknownText(len(ids) - 1, 0, 0)


def test_a_tokenizer_of_bytes_knows_everything() -> None:
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    inner = Tokenizer(BPE(letters, []))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer = ChunkTokenizer(inner, 64)
    ids, _ = tokenizer.encode(TEXTS["thai"])
    unknown = unknown_text([Chunk(0, TEXTS["thai"], tuple(ids))], tokenizer)
    assert unknown == UnknownText(len(ids), 0, 0)
