"""Which text search configuration of PostgreSQL is meant by the name of a language."""

import re
from collections.abc import Collection

WITHOUT_DICTIONARY = "simple"
"""The configuration of languages that PostgreSQL has no dictionary for: words as they are."""

# The configurations that PostgreSQL ships, and some that others ship, by the codes of ISO 639 for their languages.
_CODES = {
    "arabic": "ar ara",
    "armenian": "hy hye arm",
    "basque": "eu eus baq",
    "bulgarian": "bg bul",
    "catalan": "ca cat",
    "chinese": "zh zho chi",
    "croatian": "hr hrv",
    "czech": "cs ces cze",
    "danish": "da dan",
    "dutch": "nl nld dut",
    "english": "en eng",
    "esperanto": "eo epo",
    "estonian": "et est",
    "finnish": "fi fin",
    "french": "fr fra fre",
    "german": "de deu ger",
    "greek": "el ell gre",
    "hebrew": "he heb iw",
    "hindi": "hi hin",
    "hungarian": "hu hun",
    "indonesian": "id ind in",
    "irish": "ga gle",
    "italian": "it ita",
    "japanese": "ja jpn",
    "korean": "ko kor",
    "lithuanian": "lt lit",
    "nepali": "ne nep",
    "norwegian": "no nor nb nob nn nno",
    "persian": "fa fas per",
    "polish": "pl pol",
    "portuguese": "pt por",
    "romanian": "ro ron rum mo",
    "russian": "ru rus",
    "serbian": "sr srp",
    "slovak": "sk slk slo",
    "spanish": "es spa",
    "swedish": "sv swe",
    "tamil": "ta tam",
    "thai": "th tha",
    "turkish": "tr tur",
    "ukrainian": "uk ukr",
    "vietnamese": "vi vie",
    "yiddish": "yi yid ji",
}
_NAMES = {code: name for name, codes in _CODES.items() for code in codes.split()}
# Every two-letter code of ISO 639-1.
_ISO_639_1 = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el "
    "en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it "
    "iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt "
    "my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk "
    "sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi "
    "yo za zh zu"
)
_TWO_LETTERS = frozenset(_ISO_639_1.split())
# These tags say that the language is not known, or that there is none.
_NO_LANGUAGE = frozenset({"und", "mis", "mul", "zxx"})
# BCP 47: a language, then script, region and others. An underscore is how a locale of POSIX is written.
_TAG = re.compile(r"([a-z]{2,3})(?:[-_.@][a-z0-9_.@-]*)?", re.IGNORECASE)


def names_no_language(stated: str) -> bool:
    """Whether it is a tag for no certain language."""
    return _primary(stated) in _NO_LANGUAGE


def configuration_of(stated: str, known: Collection[str]) -> str | None:
    """The text search configuration for a language.

    Args:
        stated: a BCP 47 tag ("de", "pt-BR"), or the name of a configuration ("german"), in upper or lower case.
        known: the configurations of the database.

    Returns:
        One of `known`; None where no language is known by that name.
    """
    name = stated.strip().lower()
    if name in known:
        return name
    code = _primary(stated)
    if _NAMES.get(code) in known:
        return _NAMES[code]
    if code in _TWO_LETTERS or code in _NAMES:
        return WITHOUT_DICTIONARY
    return None


def _primary(stated: str) -> str:
    """The language of a tag; empty where it is none."""
    tag = _TAG.fullmatch(stated.strip())
    return tag[1].lower() if tag else ""
