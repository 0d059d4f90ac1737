"""Guess which field of a record is which of a document: by its name, and by what its values look like.

Each guess says how sure it is. A wrong one costs a person a look, so none is left out where there is a candidate; only
an access list is never guessed by its values alone.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from ingest.trial.context import (
    LIKELY,
    NAMES,
    SURE,
    UNSURE,
    Context,
    Guess,
    Row,
)
from ingest.trial.facts import Facts, Fields, survey
from ingest.trial.looks import (
    holds_files,
    is_address,
    is_groups,
    is_language,
    is_media_type,
    is_short,
    is_time,
    is_title,
    is_version,
)

_DELETING_FLAGS = ("deleted", "is_deleted", "removed", "is_removed", "trashed")
_DELETING_FIELDS = (
    *("op", "operation", "action", "event", "event_type", "change_type", "kind"),
    *("status", "state", "type"),
)
_DELETING_VALUES = frozenset(
    {"d", "del", "delete", "deleted", "remove", "removed", "trashed", "tombstone"}
)
_SECRET = re.compile(r"pass(word|wd)|secret|token|credential|api_?key|ssn|salt")
_MAX_METADATA = 10
_MAX_NAMED_ID = 200  # characters
_LONG_TEXT = 40  # characters, on average


def guess_mapping(
    rows: Sequence[Row], *, names_id: bool, versions: bool
) -> list[Guess]:
    """The lines of a mapping.

    Args:
        rows: of the records that have fields.
        names_id: whether the mapping has to name the document; else its format does.
        versions: whether the mapping has to name the version.
    """
    living = [row for row in rows if not row.deletes]
    context = Context(survey(row.fields for row in living), len(living), set())
    guesses: list[Guess] = []
    deleting = _deleting(context)
    if deleting is not None:
        guesses.append(deleting)
        context = _without_deleted(context, deleting, living)
    if names_id:
        guesses += _id(context, living)
    guesses += _content(context)
    guesses += _described(context)
    if versions:
        guesses += _version(survey(row.fields for row in rows), len(rows))
    guesses += _metadata(context)
    order = {name: number for number, name in enumerate(_ORDER)}
    return sorted(guesses, key=lambda guess: order[guess.field])


_ORDER = (
    *("id", "version", "content", "content_base64", "content_type", "title", "uri"),
    *("updated_at", "expires_at", "acl", "language", "metadata", "deleted_when"),
)


# ── deletes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _deleting(
    context: Context,
) -> Guess | None:
    """A condition: a flag, or a field that some record has a deleting word in."""
    for facts in _by_names(context, _DELETING_FLAGS):
        if set(facts.kinds) == {"bool"}:
            context.used.add(facts.path)
            sure = SURE if True in facts.values else LIKELY
            return _condition(facts, "true", sure)
    for facts in _by_names(context, _DELETING_FIELDS):
        for text in facts.texts:
            if text.lower() in _DELETING_VALUES:
                context.used.add(facts.path)
                return _condition(facts, text, LIKELY)
    return None


def _by_names(context: Context, names: Sequence[str]) -> list[Facts]:
    fitting = [each for each in context.facts.values() if each.name in names]
    return sorted(fitting, key=lambda one: (one.depth, names.index(one.name)))


def _condition(
    facts: Facts,
    value: str,
    sure: str,
) -> Guess:
    why = f"a record with this value deletes its document; {facts.name} looks so"
    return Guess(
        field="deleted_when", value=f"{facts.path} = {value}", sure=sure, why=why
    )


def _without_deleted(context: Context, deleting: Guess, rows: Sequence[Row]) -> Context:
    """What is known of the records that delete nothing: the others need an id and a version only."""
    path, _, wanted = str(deleting.value).partition(" = ")
    names = context.facts[path]
    kept = [row for row in rows if _text_at(row.fields, path) != wanted]
    facts = survey(row.fields for row in kept)
    facts.pop(names.path, None)
    return Context(facts, len(kept), context.used)


def _text_at(fields: Fields, path: str) -> str:
    [facts] = [each for each in survey([fields]).values() if each.path == path] or [
        None
    ]
    if facts is None or not facts.values:
        return ""
    value = facts.values[0]
    return str(value).lower() if isinstance(value, bool) else str(value)


# ── id and version ──────────────────────────────────────────────────────────────────────────────────────────────────


def _id(
    context: Context,
    rows: Sequence[Row],
) -> list[Guess]:
    """The field that the keys repeat, else one that is named so; none where only the key names the document."""
    keys = [row.key for row in rows]
    has_keys = all(keys)
    repeated = _repeats_keys(context, rows, keys)
    if has_keys and repeated is not None:
        why = f"the same as the record's key in all {len(rows):,} records"
        return [_guess(context, "id", repeated, SURE, why)]
    named = context.named("id", lambda one: _is_id(one, context))
    if named is not None:
        return [_named_id(context, named, has_keys=has_keys)]
    if has_keys:
        return []
    distinct = _distinct_id(context)
    if distinct is None:
        return []
    return [_guess(context, "id", distinct, UNSURE, "another value in each record")]


def _repeats_keys(
    context: Context, rows: Sequence[Row], keys: list[str]
) -> Facts | None:
    for facts in survey(row.fields for row in rows).values():
        values = list(map(str, facts.values))
        if _is_id(facts, context) and values == keys:
            return facts
    return None


def _named_id(
    context: Context,
    facts: Facts,
    *,
    has_keys: bool,
) -> Guess:
    is_usual = facts.name in NAMES["id"][:6]
    sure = UNSURE
    if is_usual and facts.depth == 1:
        sure = LIKELY
    why = "named so, and in each record"
    if has_keys:
        why += "; leave the line out, and the record's key names the document"
    return _guess(context, "id", facts, sure, why)


def _distinct_id(
    context: Context,
) -> Facts | None:
    """The least deep field whose name ends as that of an id, and that no two records share."""
    least: Facts | None = None
    for one in context.facts.values():
        is_named = one.name.endswith("_id")
        if not is_named or not _is_id(one, context) or not one.is_distinct:
            continue
        if least is None or one.depth < least.depth:
            least = one
    return least


def _is_id(facts: Facts, context: Context) -> bool:
    if facts.nulls or facts.present < context.records:
        return False
    return set(facts.kinds) <= {"str", "int"} and facts.length <= _MAX_NAMED_ID


def _version(facts: dict[str, Facts], records: int) -> list[Guess]:
    """A number that grows, else a time that each record has; else the record's own time and offset count."""
    everywhere = Context(
        {path: each for path, each in facts.items() if each.present == records},
        records,
        set(),
    )
    number = everywhere.named("version", is_version)
    if number is not None:
        why = "a whole number in each record; it must grow with every change"
        return [_guess(everywhere, "version", number, LIKELY, why)]
    time = everywhere.named("updated_at", lambda one: is_time(one) and not one.nulls)
    if time is not None and time.name not in ("created_at", "created", "date"):
        why = "a time in each record; a later one must be a later version"
        return [_guess(everywhere, "version", time, UNSURE, why)]
    return []


# ── content ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _content(context: Context) -> list[Guess]:
    """The field with the document, and its media type where that is another than plain text."""
    texts = _texts(context)
    named = [one for one in texts if one.name in NAMES["content"]]
    if named:
        return _named_content(context, named)
    for one in context.facts.values():
        if holds_files(one):
            why = "its values are files in Base64"
            return [_guess(context, "content_base64", one, SURE, why)]
    longest = max(texts, key=lambda one: one.length, default=None)
    if longest is None or longest.length < _LONG_TEXT:
        return [_whole_record()]
    why = f"the longest text, {longest.length:,.0f} characters on average"
    return _content_as(context, longest, UNSURE, why)


def _named_content(context: Context, named: Sequence[Facts]) -> list[Guess]:
    """By the order of names; a text that is much longer comes first."""
    names = NAMES["content"]
    best = min(named, key=lambda one: (one.depth, names.index(one.name)))
    longest = max(named, key=lambda one: one.length)
    if longest.length > 2 * best.length:
        best = longest
    is_usual = best.name in names[:5]
    sure = LIKELY
    if is_usual and longest is best:
        sure = SURE
    return _content_as(context, best, sure, "named so")


def _whole_record() -> Guess:
    return Guess(
        field="content",
        value="to_string(@)",
        sure=UNSURE,
        why="no field looks like a text, so this is all of them as JSON; name the field that readers search",
    )


def _texts(context: Context) -> list[Facts]:
    """Fields that may be a document's text; those that each record has, where there are some."""
    texts: list[Facts] = []
    for one in context.facts.values():
        is_free = one.is_text and one.path not in context.used
        if is_free and not is_time(one) and not holds_files(one):
            texts.append(one)
    everywhere = [one for one in texts if one.present == context.records]
    return everywhere or texts


def _content_as(context: Context, facts: Facts, sure: str, why: str) -> list[Guess]:
    guesses = [_guess(context, "content", facts, sure, why)]
    stated = context.named("content_type", is_media_type)
    if stated is not None:
        guesses.append(
            _guess(context, "content_type", stated, SURE, "its values are media types")
        )
        return guesses
    looks = facts.look()
    if not looks and "html" in facts.name:
        looks = "text/html"
    if looks:
        guess = Guess(
            field="content_type",
            value=f"'{looks}'",
            sure=LIKELY,
            why=f"most values of {facts.name} look so",
        )
        guesses.append(guess)
    return guesses


# ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _described(context: Context) -> list[Guess]:
    """What describes the document."""
    guesses: list[Guess] = []
    for field, (fits, why) in _DESCRIBES.items():
        facts = context.named(field, fits)
        if facts is None:
            continue
        first = NAMES[field][:2]
        sure = SURE if facts.name in first and facts.depth == 1 else LIKELY
        guesses.append(_guess(context, field, facts, sure, why))
    return guesses


_DESCRIBES: dict[str, tuple[Callable[[Facts], bool], str]] = {
    "title": (is_title, "named so"),
    "uri": (is_address, "its values are addresses"),
    "updated_at": (is_time, "its values are times"),
    "expires_at": (is_time, "its values are times; the document is withdrawn then"),
    "acl": (
        is_groups,
        "lists of texts; look twice: only readers in one of these groups see the document",
    ),
    "language": (is_language, "its values are languages"),
}


def _metadata(
    context: Context,
) -> list[Guess]:
    """Short fields that no other line names; what may be a secret is left out."""
    paths: list[str] = []
    secret: list[str] = []
    for facts in context.facts.values():
        is_named = facts.path in context.used or facts.path == "id"
        if is_named or not is_short(facts):
            continue
        if _SECRET.search(facts.name):
            secret.append(facts.path)
        elif len(paths) < _MAX_METADATA:
            paths.append(context.path(facts))
    if not paths:
        return []
    why = 'short fields that no other line names; "*" takes all'
    if secret:
        why += f"; left out, since they may be secret: {_listed(secret)}"
    return [Guess(field="metadata", value=paths, sure=UNSURE, why=why)]


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(paths)


def _guess(context: Context, field: str, facts: Facts, sure: str, why: str) -> Guess:
    return Guess(field=field, value=context.path(facts), sure=sure, why=why)
