"""Which language a text is in, by py3langid. Its model is part of the package: nothing is downloaded."""

from functools import lru_cache
from importlib import import_module
from typing import Any

from corpus.errors import ConfigurationError

# Characters that are looked at: of the beginning, the middle and the end, a third each.
_SAMPLE_CHARACTERS = 900
_GAP = " "  # between them
_GAPS = 2 * _GAP
# From 0 to 1. Below, a text is in several languages, or too short, or it is code.
_MIN_CONFIDENCE = 0.5
# The library's code for what is in no language.
_NO_LANGUAGE = "zxx"


def detected_language(text: str) -> str | None:
    """The code of the text's language (ISO 639-1, else 639-3); None: not sure.

    Raises:
        ConfigurationError: the library is not installed.
    """
    language, confidence = _identifier().classify(language_sample(text))
    if confidence < _MIN_CONFIDENCE or language == _NO_LANGUAGE:
        return None
    return language


def language_sample(text: str) -> str:
    """What the language of a text is judged by; a sample's sample is itself."""
    if len(text) <= _SAMPLE_CHARACTERS + len(_GAPS):
        return text
    third = _SAMPLE_CHARACTERS // 3
    middle = (len(text) - third) // 2
    parts = (text[:third], text[middle : middle + third], text[-third:])
    return _GAP.join(parts)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """The library, which has no types: 2 s and 60 MB, and most sources do not detect."""
    try:
        langid: Any = import_module("py3langid.langid")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "detect_language = true needs the package py3langid; install freshet[corpus] again"
        ) from error
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
