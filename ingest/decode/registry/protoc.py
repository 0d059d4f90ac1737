"""The text of a Protobuf schema becomes descriptors, by Google's own compiler; no code is made of it.

It runs as a process of its own, with limits on its time, memory and files, in an empty folder that holds the schema.
It can read nothing else: an import that is absolute or leads above the folder is refused by protoc, and where the
kernel has Landlock, by the kernel, whatever protoc would make of a schema. Known libraries (google.type, Confluent's)
are there as descriptors, so that no other file is read for them.
"""

import base64
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError
from google.type import (  # pyright: ignore[reportMissingTypeStubs]
    date_pb2,
    datetime_pb2,
    dayofweek_pb2,
    decimal_pb2,
    interval_pb2,
    latlng_pb2,
    money_pb2,
    month_pb2,
    timeofday_pb2,
)

import corpus
from corpus.errors import DependencyError
from ingest.decode.registry.framing import unusable

ROOT = "schema-of-the-record.proto"
_SECONDS = 20
_MEMORY_BYTES = 1_000_000_000
_FILE_BYTES = 20_000_000
_NAME = re.compile(r"[A-Za-z0-9_\-]+(?:[./][A-Za-z0-9_\-]+)*")
_WELL_KNOWN = "google/protobuf/"
_OUT = "out.pb"
_LIBRARIES = "libraries.pb"
_GIVEN = "given.pb"
# Limits first: what runs behind them has read nothing of the schema yet.
_PROGRAM = f"""\
import resource, sys
for limit, value in (
    (resource.RLIMIT_CPU, {_SECONDS}), (resource.RLIMIT_AS, {_MEMORY_BYTES}),
    (resource.RLIMIT_FSIZE, {_FILE_BYTES}), (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(limit, (value, value))
from importlib.resources import files
from grpc_tools import protoc
sys.path.insert(0, sys.argv.pop(1))
from corpus.limits.confinement import keep_to_folders
included = str(files("grpc_tools") / "_proto")
keep_to_folders(readable=[included], writable=["."])
sys.exit(protoc.main(["protoc", *sys.argv[1:], "-I" + included]))
"""
_CODE = Path(corpus.__file__).parents[
    1
]  # of this package, which an isolated Python does not look for
_TYPES: Sequence[Any] = (
    date_pb2,
    datetime_pb2,
    dayofweek_pb2,
    decimal_pb2,
    interval_pb2,
    latlng_pb2,
    money_pb2,
    month_pb2,
    timeofday_pb2,
)


def compiled_files(
    text: str,
    references: Sequence[tuple[str, str]],
) -> tuple[FileDescriptorProto, ...]:
    """The descriptors of a schema and of all that it imports, those first that others need.

    Args:
        text: of the schema, or the base64 of its descriptor, as some clients register it.
        references: by the names that the schema imports.

    Raises:
        DependencyError: the compiler cannot be run.
        FieldError: it is no Protobuf schema.
    """
    given: list[FileDescriptorProto] = []
    texts: dict[str, str] = {}
    for name, one in (*references, (ROOT, text)):
        if name.startswith(_WELL_KNOWN):
            continue
        if not _NAME.fullmatch(name):
            raise unusable("it imports a file whose name is none")
        descriptor = _descriptor(name, one)
        if descriptor is None:
            texts[name] = one
        else:
            given.append(descriptor)
    with tempfile.TemporaryDirectory(prefix="freshet-schema-") as folder:
        return _compile(Path(folder), texts, given)


def _descriptor(
    name: str,
    text: str,
) -> FileDescriptorProto | None:
    """A descriptor in base64; None: it is a text."""
    descriptor = FileDescriptorProto()
    try:
        descriptor.ParseFromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError):
        return None
    descriptor.name = name
    return descriptor


def _compile(
    folder: Path,
    texts: dict[str, str],
    given: Sequence[FileDescriptorProto],
) -> tuple[FileDescriptorProto, ...]:
    sources = folder / "sources"
    sources.mkdir()
    for name, text in texts.items():
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    # Last, a file that imports them all: so descriptors that were given are checked, and put in order, too.
    names = [*texts, *(one.name for one in given)]
    everything = sources / "everything.proto"
    imports = "".join(f'import "{name}";\n' for name in names)
    everything.write_text(f'syntax = "proto3";\n{imports}', encoding="ascii")
    known = {*names}
    libraries = [one for one in _libraries() if one.name not in known]
    descriptors = FileDescriptorSet(file=[*libraries, *given])
    (folder / _GIVEN).write_bytes(descriptors.SerializeToString())
    _run(folder, sources, everything)
    found = FileDescriptorSet.FromString((folder / _OUT).read_bytes())
    return tuple(one for one in found.file if one.name != everything.name)


def _run(
    folder: Path,
    sources: Path,
    everything: Path,
) -> None:
    command = [
        *(sys.executable, "-I", "-c", _PROGRAM, str(_CODE)),
        f"-I{sources}",
        f"--descriptor_set_in={folder / _GIVEN}",
        f"--descriptor_set_out={folder / _OUT}",
        "--include_imports",
        everything.name,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise unusable(f"to compile it takes longer than {_SECONDS} s") from None
    except OSError as error:
        raise DependencyError(
            f"the compiler of Protobuf schemas cannot be run: {error.strerror}"
        ) from error
    if done.returncode != 0:
        raise unusable("it is no Protobuf schema, or imports one that it does not name")


def _libraries() -> list[FileDescriptorProto]:
    from confluent_kafka.schema_registry.confluent import meta_pb2
    from confluent_kafka.schema_registry.confluent.type import decimal_pb2 as decimal
    from confluent_kafka.schema_registry.confluent.types import decimal_pb2 as older

    modules: Sequence[Any] = (*_TYPES, meta_pb2, decimal, older)
    found: dict[str, FileDescriptorProto] = {}
    for module in modules:
        _add_file(module.DESCRIPTOR, found)
    return list(found.values())


def _add_file(
    file: Any,
    found: dict[str, FileDescriptorProto],
) -> None:
    for needed in file.dependencies:
        _add_file(needed, found)
    if file.name not in found:
        descriptor = FileDescriptorProto()
        file.CopyToProto(descriptor)
        found[file.name] = descriptor
