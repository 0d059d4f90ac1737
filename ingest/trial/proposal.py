"""A proposal as the text of a configuration file: one table, and on each guess a comment that says how sure it is."""

import json
import re
from collections.abc import Sequence
from typing import Any

from ingest.trial.context import Guess
from ingest.trial.topic import READ_BY_NAME, Recognised

_NO_NAME = re.compile(r"[^a-z0-9-]+")
_MAX_NAME = 60
_COLUMN = 40  # where comments begin
_MAX_COMMENT = 300

_VERSION_OF = {
    "debezium": "version: the position in the database's log (lsn, binary log), else its time",
    "cloudevents": "version: sequence, else time of the event",
}
_ID_OF = {
    "debezium": "id: the columns of the record's key name the document",
    "cloudevents": "id: the event's subject names the document, else the record's key",
    "text": "id: header id, else the record's key names the document",
}


def source_name(topic: str) -> str:
    """A name for the source of a topic."""
    name = _NO_NAME.sub("-", topic.lower()).strip("-")[:_MAX_NAME].strip("-")
    if not name or not name[0].isalpha():
        name = f"source-{name}".strip("-")
    return name


def proposed_toml(topic: str, recognised: Recognised) -> str:
    """The table of a source that reads the topic; empty: its format is none that a source can have."""
    if not recognised.is_readable:
        return ""
    name = source_name(topic)
    head = (
        f"Proposed by `freshet try` out of {recognised.records:,} records; read each comment, then "
        "`freshet apply FILE`"
    )
    lines = [
        _comment(head),
        f"[source.{name}]",
        f"topics = [{_text(topic)}]",
        _line(f"format = {_text(recognised.format)}", recognised.sentence()),
    ]
    lines += _mapping(name, recognised)
    if recognised.written_by:
        lines += ["", f"[source.{name}.debezium]"]
        encoding = f"encoding = {_text(recognised.written_by)}"
        lines.append(_line(encoding, "sure: a schema registry has the schemas"))
    if recognised.deleted_types:
        types = _list([*recognised.deleted_types])
        lines += ["", f"[source.{name}.cloudevents]"]
        lines.append(_line(f"deleted_types = {types}", "likely: their names say so"))
    return "\n".join(lines) + "\n"


def _mapping(
    name: str,
    recognised: Recognised,
) -> list[str]:
    notes = [*_notes(recognised)]
    if not recognised.guesses:
        return notes
    lines = ["", f"[source.{name}.mapping]", *notes]
    lines += [_guess_line(guess) for guess in recognised.guesses]
    return lines


def _notes(
    recognised: Recognised,
) -> list[str]:
    """What names the document and its version, where no line does."""
    fields = {guess.field for guess in recognised.guesses}
    notes: list[str] = []
    if "id" not in fields:
        of_format = _ID_OF.get(recognised.format, "")
        if recognised.format in READ_BY_NAME:
            of_format = "id: the record's key names the document"
        notes.append(of_format)
    if "version" not in fields:
        of_format = _VERSION_OF.get(recognised.format, "")
        if recognised.format in READ_BY_NAME:
            of_format = (
                "version: the record's time and offset, since no field looks like one"
            )
        notes.append(of_format)
    return [_comment(note) for note in notes if note]


def _guess_line(guess: Guess) -> str:
    value = guess.value
    shown = _list(value) if isinstance(value, list) else _text(value)  # pyright: ignore[reportUnknownArgumentType]
    return _line(f"{guess.field} = {shown}", f"{guess.sure}: {guess.why}")


def _line(setting: str, comment: str) -> str:
    return f"{setting:<{_COLUMN}}  {_comment(comment)}"


def _comment(text: str) -> str:
    """A comment of one line, whatever the names of fields hold."""
    printable = "".join(each if each.isprintable() else "\ufffd" for each in text)
    return f"# {printable[:_MAX_COMMENT]}"


def _list(values: Sequence[Any]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: Any) -> str:
    """A basic string of TOML; what does nothing but change how a line is shown is escaped."""
    text = str(value).encode("utf-8", "replace").decode()
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(map(_escaped, quoted))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"
