"""The local stack as its users meet it: the commands, in a state directory of their own, with kills."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose.local.machine.process import marked
from compose.local.parts.kafka import brokers
from tests.support.polling import wait_until
from workers.config import readers

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
# The commands alone, so that a fault elsewhere in the command line is not seen as one of the stack.
_PROGRAM = """
import sys, typer
from workers.cli.commands import stack
from workers.cli.console import run_command
app = typer.Typer(); stack.register(app)
run_command(lambda: app(standalone_mode=False), debug=True)
"""


class Stack:
    """One state directory and the commands on it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM, *words, "--home", str(self.home)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def up(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.run("up", "--detach", "--no-workers", *words)
        assert done.returncode == 0, done.stderr
        return done

    def read(self) -> dict[str, Any]:
        return json.loads((self.home / "stack.json").read_text())

    def pid(self, part: str) -> int:
        return self.read()["parts"][part]["pid"]

    def pids(self) -> dict[str, int]:
        return {name: row["pid"] for name, row in self.read()["parts"].items() if row["pid"]}

    def address(self, name: str) -> str:
        return self.read()["addresses"][name]

    def database_url(self) -> str:
        return Path(self.address("database_url_file")).read_text(encoding="utf-8")

    def kafka_login(self) -> dict[str, str]:
        login = readers.properties(self.address("kafka_properties"))
        return {"bootstrap.servers": self.address("kafka_bootstrap"), **login}

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: (
                not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
            ),
            10,
        )

    def wait_back(self, part: str, old: int) -> None:
        def back() -> bool:
            row = self.read()["parts"][part]
            return row["state"] == "ready" and row["pid"] not in (None, old)

        wait_until(back, 60)


def write_everywhere(stack: Stack, name: str) -> None:
    """Leave something in each service."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    from corpus.database import connect

    with connect(stack.database_url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.mark (name text)")
        connection.execute("INSERT INTO public.mark VALUES (%s)", (name,))
    login = stack.kafka_login()
    admin = AdminClient(login)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    producer = Producer({**login, "acks": "all"})
    producer.produce(name, name.encode())
    assert producer.flush(30) == 0


def read_everywhere(stack: Stack, name: str) -> None:
    """Find it again."""
    from confluent_kafka import Consumer, TopicPartition

    from corpus.database import connect

    with connect(stack.database_url()) as connection:
        assert (name,) in connection.execute("SELECT name FROM public.mark").fetchall()
    consumer = Consumer(
        {
            **stack.kafka_login(),
            "group.id": "reader",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(name, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == name.encode()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack") / "home")
    stack.up()
    yield stack
    done = stack.run("down")
    assert done.returncode == 0, done.stderr


def test_all_is_ready_on_loopback_and_private(stack: Stack) -> None:
    states = {name: row["state"] for name, row in stack.read()["parts"].items()}
    assert states == {
        "postgres": "ready",
        "migrations": "done",
        "kafka": "ready",
        "temporal": "ready",
    }
    for pid in stack.pids().values():
        listening = [
            c for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN
        ]
        assert listening
        # A JVM without -Djava.net.preferIPv4Stack shows loopback as ::ffff:127.0.0.1.
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} <= {"127.0.0.1", "::1"}
    assert stack.home.stat().st_mode & 0o077 == 0
    assert (stack.home / "stack.json").stat().st_mode & 0o077 == 0


def test_kafka_asks_for_a_password_on_both_of_its_listeners(stack: Stack) -> None:
    ports = stack.read()["ports"]
    login = stack.kafka_login()
    for port in (ports["kafka"], ports["kafka-controller"]):
        server = {"bootstrap.servers": f"127.0.0.1:{port}"}
        assert brokers(server, timeout=2) == []
        assert brokers({**login, **server, "sasl.password": "wrong"}, timeout=2) == []
    assert brokers(login, timeout=10) == [login["bootstrap.servers"]]
    files = (stack.home / "kafka").glob("*.properties")
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert login["sasl.password"] not in json.dumps(stack.read())


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = stack.pids()
    done = stack.up()
    assert "runs already" in done.stderr
    assert stack.pids() == before


def test_doctor_finds_nothing_wrong(stack: Stack) -> None:
    done = stack.run("doctor", "--json", timeout=400)
    assert [check for check in json.loads(done.stdout) if not check["ok"]] == []
    assert done.returncode == 0


def test_status_and_logs_tell_of_the_parts(stack: Stack) -> None:
    done = stack.run("status", "--json")
    rows = {row["part"]: row for row in json.loads(done.stdout)["parts"]}
    assert rows["kafka"]["pid"] == stack.pid("kafka")
    assert rows["postgres"]["uptime_s"] >= 0
    assert "database system is ready" in stack.run("logs", "postgres").stdout
    unknown = stack.run("logs", "nothing")
    assert (unknown.returncode, "logs there" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("part", ["postgres", "kafka", "temporal"])
def test_a_killed_part_comes_back_with_its_data(stack: Stack, part: str) -> None:
    name = f"before-{part}"
    write_everywhere(stack, name)
    old = stack.pid(part)
    stack.kill(old)
    stack.wait_back(part, old)
    read_everywhere(stack, name)
    assert stack.read()["parts"][part]["restarts"] >= 1


def test_another_supervisor_adopts_what_a_killed_one_left(stack: Stack) -> None:
    before = stack.pids()
    old = stack.read()["supervisor"]["pid"]
    stack.kill(old)
    stack.up()
    assert stack.pids() == before
    assert stack.read()["supervisor"]["pid"] != old
    stack.kill(before["kafka"])
    stack.wait_back("kafka", before["kafka"])


def test_two_ups_at_once_make_one_stack(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        "up",
        "--detach",
        "--only",
        "postgres",
        "--home",
        str(stack.home),
    ]
    both = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[1] and process.returncode for process in both] == [
        0,
        0,
    ]
    servers = [
        p for p in marked(f"{stack.home}|postgres") if "postgres" in " ".join(p.cmdline()[:1])
    ]
    assert {p.pid for p in servers} == {stack.pid("postgres")}
    stack.run("down")


def test_down_leaves_no_process_also_without_a_supervisor(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    stack.up()
    write_everywhere(stack, "kept")
    pids = [*stack.pids().values(), stack.read()["supervisor"]["pid"]]
    stack.kill(stack.read()["supervisor"]["pid"])
    assert stack.run("down").returncode == 0
    assert list(marked(str(stack.home))) == []
    assert not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    )
    assert "nothing runs" in stack.run("down").stderr
    assert stack.run("status").returncode == 3
    # The state is still there.
    stack.up()
    read_everywhere(stack, "kept")
    stack.run("down")


def test_ctrl_c_ends_a_stack_in_the_foreground(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home")
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        "up",
        "--only",
        "postgres",
        "--only",
        "temporal",
        "--home",
        str(stack.home),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Ctrl-C" in line:
            break
    pids = stack.pids()
    assert set(pids) == {"postgres", "temporal"}
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    process.stderr.close()
    assert list(marked(str(stack.home))) == []
    assert not (stack.home / "stack.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--only", "oracle"], "'oracle' is not a part"),
        (["--postgres-port", "70000"], "is not a port"),
        (["--postgres-port", "21999", "--kafka-port", "21999"], "the same port"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], told: str) -> None:
    done = Stack(tmp_path / "home").run("up", "--detach", *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        stack = Stack(tmp_path / "home")
        done = stack.run(
            "up", "--detach", "--only", "postgres", "--postgres-port", str(other.getsockname()[1])
        )
        stack.run("down")
    assert done.returncode == 3
    assert "is taken" in done.stderr


def test_an_existing_server_is_used_and_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    from corpus.database import connect

    monkeypatch.setenv("FRESHET_DATABASE_URL", empty_database_url)
    stack = Stack(tmp_path / "home")
    done = stack.run("up", "--detach", "--only", "migrations")
    assert done.returncode == 0, done.stderr
    assert stack.read()["parts"]["postgres"]["state"] == "external"
    assert stack.database_url() == empty_database_url
    stack.run("down")
    assert not (stack.home / "secrets").exists()
    with connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM freshet.source").fetchone() == (0,)
