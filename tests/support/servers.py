"""Databases and users as other people set them up, on the tests' own server; each costs a fraction of a second."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typing_extensions import override

from compose.local.checks import CheckResult, make_check
from compose.local.machine.files import make_private_folder
from compose.local.machine.process import run_tool
from compose.local.parts.postgres import Postgres
from compose.local.parts.postgres_programs import binaries, runner
from compose.local.server_checks import SERVER_CHECKS, SESSION_CHECK
from compose.local.state import StackFile, write_stack
from corpus.clean.cleaner import Cleaner
from corpus.embed.space_indexes import build_missing
from corpus.text_search import rebuild_search_texts
from tests.support.pipeline import Pipeline, make_event

TEXT = "The keeper opened the “sluice” of the Öre; the gauge showed four metres."


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A user without any rights but those on its own database."""

    server: Postgres
    name: str
    url: str

    def as_admin(self, *statements: str) -> None:
        """Run statements in the database as its administrator, a superuser."""
        with psycopg.connect(self.server.url_of(self.name), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def tenant(server: Postgres, *, options: str = "") -> Iterator[Tenant]:
    """A database with its owner, as a provider makes them; afterwards both are removed."""
    name = f"tenant_{secrets.token_hex(4)}"
    password = secrets.token_hex(8)
    user, secret = sql.Identifier(name), sql.Literal(password)
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(user, secret)
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} " + options).format(user, user)  # type: ignore[arg-type]
        )
        try:
            url = f"postgresql://{name}:{password}@127.0.0.1:{server.port}/{name}"
            yield Tenant(server=server, name=name, url=url)
        finally:
            server.drop_database(name)
            connection.execute(sql.SQL("DROP ROLE {}").format(user))


def one_batch(url: str, folder: Path, cleaner: Cleaner) -> None:
    """Prepare, embed, publish, index, search: now, in the past, by vector and by text; replace, delete, expire."""
    with Pipeline(url, folder, cleaner=cleaner) as pipeline:
        first = pipeline.ingest(make_event("one", 1, TEXT), make_event("two", 1, "A mill."))
        assert build_missing(url) == [1]
        assert rebuild_search_texts(url).rebuilt == 0
        pipeline.ingest(
            make_event("one", 2, TEXT + " Then the bell rang.", expires_at="2020-01-02T03:04:05Z"),
            make_event("two", 2, op="delete"),
            make_event("three", 1, "The miller wrote down the level at noon."),
        )
        assert pipeline.visible().keys() == {"one", "three"}
        for mode in ("vector", "text", "hybrid"):
            hits = pipeline.search("the level that the miller wrote", mode=mode)
            assert hits[0].document_id == "three", mode
        assert pipeline.search("sluice", mode="text") == ()  # it has ended
        past = pipeline.search("sluice", mode="text", as_of_batch=first.batch, sources=("s",))
        assert [(hit.document_id, hit.version) for hit in past] == [("one", 1)]
        assert pipeline.expire().documents_expired == 1
        assert pipeline.visible().keys() == {"three"}


@dataclass(kw_only=True)
class Standby(Postgres):
    """A server that copies another one."""

    primary: Postgres

    @property
    @override
    def password(self) -> str:
        return self.primary.password

    @override
    def after_ready(self) -> None:
        """Nothing can be written here."""

    @override
    def _initdb(self) -> None:
        make_private_folder(self.folder)
        conninfo = make_conninfo(self.primary.url_of("postgres"), application_name="standby")
        programs = [*runner().prefix, str(binaries() / "pg_basebackup")]
        copy = ["-D", str(self.data), "-d", conninfo, "--write-recovery-conf"]
        run_tool(
            [*programs, *copy, "--checkpoint=fast", "--no-sync"],
            mark=self.mark,
            purpose="copy the primary",
            timeout=60,
            cwd=self.folder,
        )


def checked(url: str, home: Path) -> dict[str, CheckResult]:
    """What `freshet doctor` says of a server."""
    addresses = {
        "database_url": url,
        "kafka_bootstrap": "127.0.0.1:1",
        "temporal_address": "127.0.0.1:1",
    }
    write_stack(home, StackFile(addresses=addresses))
    checks = (*SERVER_CHECKS, SESSION_CHECK)
    return {check.name: make_check(check, home) for check in checks}


def failed(results: dict[str, CheckResult]) -> Sequence[str]:
    """Names of the checks that failed."""
    return [name for name, result in results.items() if not result.ok]


def schemas(owner: Tenant) -> list[str]:
    """The schemas of the database but those of PostgreSQL."""
    url = owner.server.url_of(owner.name)
    with psycopg.connect(url, client_encoding="UTF8") as connection:
        rows = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information' ORDER BY 1"
        ).fetchall()
    return [row[0] for row in rows]


def show(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute(f"SHOW {name}".encode()).fetchone()
    assert row is not None
    return str(row[0])
