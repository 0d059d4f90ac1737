"""The tokenizer that a model reads with, without the model: what decides how long a chunk may be.

Imports neither torch nor transformers, so splitting stays light and exact.
"""

from collections.abc import Sequence

from tokenizers import Encoding, Tokenizer

from corpus.embed.model_files import model_folder, read_embedding_spec, token_limit
from corpus.errors import ConfigurationError

__all__ = ["ChunkTokenizer", "load_tokenizer", "model_folder", "read_embedding_spec"]

# Pre-tokenizers that treat every word by itself, so that a slice of a text's tokens is what the slice's own text gives.
_WORD_BY_WORD = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")


class ChunkTokenizer:
    """Texts → token ids with their places in the text; nothing is added and nothing is cut off."""

    def __init__(self, tokenizer: Tokenizer, limit: int, prefix: str = "") -> None:
        """Take over `tokenizer`.

        Args:
            tokenizer: of the model; its truncation and padding are switched off.
            limit: tokens the model reads, special tokens included.
            prefix: put before every text; counted as special tokens.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        before, after = _special_ids(tokenizer)
        self.limit = limit
        self.prefix_ids: tuple[int, ...] = before + tuple(
            tokenizer.encode(prefix, add_special_tokens=False).ids
        )
        self.suffix_ids: tuple[int, ...] = after
        self.special_tokens = len(self.prefix_ids) + len(self.suffix_ids)
        self.word_by_word = type(tokenizer.pre_tokenizer).__name__ in _WORD_BY_WORD

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return token ids and each token's (start, end) in characters of `text`."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """`encode` of each, side by side where there are cores."""
        return [(encoding.ids, encoding.offsets) for encoding in self.encodings(texts)]

    def encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """As `encode_batch`, with what else the tokenizer knows (words)."""
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)


def load_tokenizer(model: str, prefix: str = "") -> ChunkTokenizer:
    """Load the tokenizer of a local folder, of the bundled model, or of a model on the Hugging Face hub.

    Raises:
        ConfigurationError: the model cannot be found, or has no fast tokenizer; the message names it.
    """
    folder = model_folder(model)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ConfigurationError(
            f"model {model!r} has no tokenizer.json in {folder}; choose a model with a fast tokenizer, or save one with transformers' save_pretrained"
        )
    return ChunkTokenizer(Tokenizer.from_file(str(file)), token_limit(folder), prefix)


def _special_ids(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids that the model wants before and after a text."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    own = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    if not own:
        return (), tuple(encoding.ids)
    return tuple(encoding.ids[: own[0]]), tuple(encoding.ids[own[-1] + 1 :])
