"""The compiler of Protobuf schemas reads what the registry has, and no file of the machine."""

from pathlib import Path

import pytest

from corpus.limits.confinement import Wall
from corpus.limits.probe import probe
from ingest.decode.fields import FieldError
from ingest.decode.registry import protoc
from ingest.decode.registry.protoc import compiled_files


def test_no_schema_reads_a_file_of_the_machine(tmp_path: Path) -> None:
    """The file is a schema, and this user may read it: nothing but the walls keeps it away."""
    secret = tmp_path / "secret.proto"
    secret.write_text('syntax = "proto3"; message Secret { string a = 1; }')
    above = "../" * 20 + str(secret.relative_to("/"))
    for name in (str(secret), f"/{secret}", above, f"sources/{above}", f"./{secret.name}"):
        text = f'syntax = "proto3"; import "{name}"; message X {{ Secret s = 1; }}'
        with pytest.raises(FieldError, match="it is no Protobuf schema"):
            compiled_files(text, ())
    known = 'syntax = "proto3"; import "secret.proto"; message X { Secret s = 1; }'
    files = compiled_files(known, (("secret.proto", secret.read_text()),))
    assert "secret.proto" in [file.name for file in files]


def test_the_compiler_is_kept_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a schema made of protoc."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    instead = f"open({str(secret)!r}).read()"
    broken = protoc._PROGRAM.replace("sys.exit(protoc.main", f"{instead}; sys.exit(protoc.main")
    assert broken != protoc._PROGRAM
    monkeypatch.setattr(protoc, "_PROGRAM", broken)
    text = 'syntax = "proto3"; message X {}'
    if Wall.LANDLOCK.value not in probe().walls:
        assert compiled_files(text, ())  # a machine without that wall
        return
    with pytest.raises(FieldError):
        compiled_files(text, ())
