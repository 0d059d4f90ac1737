"""A schema registry of a test's own, on loopback: Confluent's protocol for reading; it can fail, wait, ask for a login.

What is only about the protocol's answers is tested with it; that a real registry gives such answers is tested with
Apicurio (`tests/service/test_schema_registry.py`).
"""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from typing_extensions import override


@dataclass
class RegistryServer:
    """What it answers; a test may change it while it runs."""

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    guids: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    status: int = 200  # of every answer, where it is another one
    authorization: str = ""  # that it asks for
    questions: list[str] = field(default_factory=list[str])
    hold: threading.Event = field(default_factory=threading.Event)  # answers wait while it is clear

    def add(self, schema: Any, kind: str = "AVRO", *, references: tuple[Any, ...] = ()) -> int:
        """Register a schema; returns its id."""
        number = len(self.schemas) + 1
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.schemas[number] = {
            "schema": text,
            "schemaType": kind,
            "references": [
                {"name": name, "subject": name, "version": version} for name, version in references
            ],
        }
        self.guids[guid_of(number)] = number
        return number

    def answer(self, path: str) -> tuple[int, Any]:
        """Status and body for a path."""
        self.questions.append(path)
        if self.status != 200:
            return self.status, {"error_code": self.status, "message": "not now"}
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match parts:
            case ["schemas", "types"]:
                return 200, ["AVRO", "PROTOBUF", "JSON"]
            case ["schemas", "ids", number]:
                return self._schema(int(number))
            case ["schemas", "guids", guid]:
                return self._schema(self.guids.get(guid, 0))
            case ["subjects", subject, "versions", version]:
                number = self.versions.get((subject, int(version)), 0)
                status, body = self._schema(number)
                return status, {**body, "subject": subject, "version": int(version), "id": number}
            case _:
                return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _schema(self, number: int) -> tuple[int, dict[str, Any]]:
        schema = self.schemas.get(number)
        if schema is None:
            return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
        return 200, schema


def guid_of(number: int) -> str:
    """The GUID that the server gives to a schema."""
    return f"00000000-0000-0000-0000-{number:012d}"


@contextmanager
def registry_server() -> Generator[RegistryServer]:
    """Run a server until the block ends."""
    state = RegistryServer()
    state.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.hold.wait(30)
            wanted = state.authorization
            if wanted and self.headers.get("Authorization") != wanted:
                status, body = 401, {"error_code": 401, "message": "Unauthorized"}
            else:
                status, body = state.answer(urlsplit(self.path).path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
