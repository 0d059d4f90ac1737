"""The tokenizer that a model reads with, without the model: it decides how long a chunk may be.

Imports neither torch nor transformers, so splitting stays light and exact.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

from tokenizers import Encoding, Tokenizer

from corpus.embed.model_files import model_folder, read_embedding_spec, token_limit
from corpus.errors import ConfigurationError

__all__ = ["ChunkTokenizer", "load_tokenizer", "model_folder", "read_embedding_spec"]

# Pre-tokenizers that treat every word by itself, so that a slice of a text's tokens is what the slice's own text gives.
_WORD_BY_WORD = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")


class ChunkTokenizer:
    """Texts → token ids with their offsets in the text; nothing is added and nothing is truncated.

    Processes that read documents are sent it once (`corpus.limits.messages.Shared`): they can read no file.

    Attributes:
        limit: tokens that the model reads, special tokens included.
        prefix_ids: token ids before every text: special tokens and the prefix.
        suffix_ids: token ids after every text.
        special_tokens: how many tokens these are together.
        unknown_token: id of the token for what the model has no word for; None: it has a word for everything.
        word_by_word: whether a slice of a text's tokens is what the slice's own text gives.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int, prefix: str = "") -> None:
        """Take over `tokenizer`.

        Args:
            tokenizer: of the model; its truncation and padding are switched off.
            limit: tokens that the model reads, special tokens included.
            prefix: put before every text; counted as special tokens.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        before, after = _special_ids(tokenizer)
        prefix_tokens = tokenizer.encode(prefix, add_special_tokens=False)
        self.limit = limit
        self.prefix_ids: tuple[int, ...] = (*before, *prefix_tokens.ids)
        self.suffix_ids: tuple[int, ...] = after
        self.special_tokens = len(self.prefix_ids) + len(self.suffix_ids)
        self.unknown_token = _unknown_token(tokenizer)
        self.word_by_word = type(tokenizer.pre_tokenizer).__name__ in _WORD_BY_WORD
        self._prefix = prefix

    @cached_property
    def shared_key(self) -> str:
        """Identifies it among those that a process was sent."""
        return hashlib.sha256(self._definition).hexdigest()

    def shared_definition(self) -> bytes:
        """What `of_definition` makes it from."""
        return self._definition

    @cached_property
    def _definition(self) -> bytes:
        """Made once: it takes some 25 ms, and each process that starts is given it."""
        parts = (self.limit, self._prefix, self._tokenizer.to_str())
        return json.dumps(parts).encode()

    @classmethod
    def of_definition(cls, definition: bytes) -> "ChunkTokenizer":
        """The tokenizer."""
        limit, prefix, tokenizer = json.loads(definition)
        return cls(Tokenizer.from_str(tokenizer), limit, prefix)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return token ids and each token's (start, end) in characters of `text`."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def encode_batch(
        self, texts: Sequence[str]
    ) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return `encode` of each text; texts are encoded in parallel where there are cores."""
        return [(encoding.ids, encoding.offsets) for encoding in self._encodings(texts)]

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)


def load_tokenizer(model: str, prefix: str = "") -> ChunkTokenizer:
    """Load the tokenizer of a local folder, of the bundled model, or of a model on the Hugging Face hub.

    Raises:
        ConfigurationError: the model is not available, or has no fast tokenizer; the message names it.
    """
    folder = model_folder(model)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ConfigurationError(
            f"model {model!r} has no tokenizer.json in {folder}; "
            "choose a model with a fast tokenizer, or save one with transformers' save_pretrained"
        )
    tokenizer = Tokenizer.from_file(str(file))
    return ChunkTokenizer(tokenizer, token_limit(folder), prefix)


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    # A unigram model does not tell the name; all of them call it so.
    name = getattr(tokenizer.model, "unk_token", None) or "<unk>"
    return tokenizer.token_to_id(name)


def _special_ids(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the model wants before and after a text."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    ids = tuple(encoding.ids)
    mask = encoding.special_tokens_mask
    if 0 not in mask:
        return (), ids
    first = mask.index(0)
    last = len(mask) - 1 - mask[::-1].index(0)
    return ids[:first], ids[last + 1 :]
