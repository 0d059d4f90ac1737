"""The tokenizer without the model."""

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer
from corpus.errors import ConfigurationError

MODEL = "all-MiniLM-L6-v2"


def test_limit_and_special_tokens_of_the_bundled_model() -> None:
    tokenizer = load_tokenizer(MODEL)
    assert (tokenizer.limit, tokenizer.special_tokens) == (256, 2)
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids) == ((101,), (102,))


def test_nothing_is_added_or_cut_off_and_offsets_are_characters() -> None:
    text = "Größe \U0001f600 weir " * 400
    ids, offsets = load_tokenizer(MODEL).encode(text)
    assert len(ids) == len(offsets) > 1_000
    start, end = offsets[ids.index(load_tokenizer(MODEL).encode("weir")[0][0])]
    assert text[start:end] == "we"[: end - start] or text[start:end] == "weir"


def test_a_prefix_counts_as_special_tokens() -> None:
    tokenizer = load_tokenizer(MODEL, prefix="passage: ")
    assert tokenizer.special_tokens == 2 + len(load_tokenizer(MODEL).encode("passage: ")[0])


def test_the_model_itself_is_not_imported() -> None:
    script = (
        "import sys, corpus.split.splitter, corpus.embed.tokenizer as tokenizer;"
        "tokenizer.load_tokenizer('all-MiniLM-L6-v2');"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_tokens_of_several_texts_are_those_of_each() -> None:
    tokenizer = load_tokenizer(MODEL)
    texts = ["weir", "", "Größe \U0001f600", "a" * 500]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_a_model_without_a_fast_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no tokenizer\.json"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("processor", "before", "after"),
    [
        (None, (), ()),
        (TemplateProcessing(single="[B] $A", special_tokens=[("[B]", 0)]), (0,), ()),
        (TemplateProcessing(single="$A [B] [B]", special_tokens=[("[B]", 0)]), (), (0, 0)),
    ],
    ids=["none", "before", "after"],
)
def test_special_tokens_are_those_around_a_text(
    processor: TemplateProcessing | None, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    made = Tokenizer(WordLevel({"[B]": 0, "a": 1}, unk_token="[B]"))
    if processor is not None:
        made.post_processor = processor
    tokenizer = ChunkTokenizer(made, limit=8)
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids) == (before, after)
    assert tokenizer.special_tokens == len(before + after)
