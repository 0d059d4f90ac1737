"""[source.NAME.mapping]: what may be written, and what is refused when the file is read."""

import pytest

from corpus.errors import ConfigurationError
from corpus.specs.formats import MappingSpec
from workers.config.file import parse

BEGIN = '[source.a]\nformat = "json"\n[source.a.mapping]\n'


def mapping(text: str) -> MappingSpec:
    return parse(BEGIN + 'content = "body"\n' + text).sources[0].mapping


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ('deleted_when = "status = deleted"', ("status = deleted",)),
        ("deleted_when = \"status == 'deleted'\"", ("status = deleted",)),
        ("deleted_when = {status = 'deleted', 'a.b' = true}", ("status = deleted", "a.b = true")),
        ("deleted_when = {n = 1}", ("n = 1",)),
        ("", ()),
    ],
)
def test_conditions(text: str, conditions: tuple[str, ...]) -> None:
    assert mapping(text).deleted_when == conditions


def test_the_bytes_of_a_file_may_take_the_place_of_a_text() -> None:
    [spec] = parse(BEGIN + 'content_base64 = "file"').sources
    assert (spec.mapping.content, spec.mapping.content_base64) == (None, "file")


def test_an_address_may_take_the_place_of_a_text() -> None:
    [spec] = parse(BEGIN + 'content_url = "https://h/{path}"\ncontent_sha256 = "sum?"').sources
    assert (spec.mapping.content, spec.mapping.content_sha256) == (None, "sum?")


@pytest.mark.parametrize(
    ("text", "metadata"), [('metadata = "*"', ("*",)), ('metadata = ["a", "b"]', ("a", "b"))]
)
def test_metadata(text: str, metadata: tuple[str, ...]) -> None:
    assert mapping(text).metadata == metadata


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (BEGIN + 'content = "a["', "JMESPath"),
        (BEGIN + 'content = "{a"', "brace"),
        (BEGIN + 'content = "{}"', "JMESPath"),
        (BEGIN + 'content = "a"\ntitle = "header:"', "header"),
        (BEGIN + 'content = "a"\ndeleted_when = "status"', "status = deleted"),
        (BEGIN + 'content = "a"\ndeleted_when = {a = [1]}', "text, a number, true or false"),
        (BEGIN + 'content = "a"\nmetadata = ["a b"]', "metadata"),
        (BEGIN + 'title = "a"', "needs mapping.content"),
        (BEGIN + 'content_base64 = "a["', "JMESPath expression: character 3"),
        (BEGIN + f'content = "{"(" * 1_900}"', "nested too deeply"),
        ('[source.a.mapping]\ntitle = "a"', "header:NAME"),
        ('[source.a]\nformat = "text"\n[source.a.mapping]\nmetadata = "*"', "header:NAME"),
        ('[source.a]\nformat = "xml"', "format"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(text: str, word: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert word in str(caught.value)
