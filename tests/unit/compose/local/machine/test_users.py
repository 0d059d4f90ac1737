"""Other users of the machine are named, since loopback is open to them."""

import os
import pwd

import pytest

from compose.local.machine import users
from compose.local.machine.users import other_users, shared_machine_warning


def account(name: str, uid: int, shell: str = "/bin/bash") -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", f"/home/{name}", shell))


ACCOUNTS = [
    account("root", 0),
    account("daemon", 1, "/usr/sbin/nologin"),
    account("me", 1000),
    account("bob", 1002),
    account("alice", 1001),
    account("service", 1003, "/bin/false"),
    account("nobody", 65_534),
]


def test_people_with_a_shell_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwall", lambda: ACCOUNTS)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert other_users() == ["alice", "bob"]
    assert "alice, bob" in shared_machine_warning()


def test_where_there_is_nobody_else_there_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "other_users", list)
    assert shared_machine_warning() == ""
