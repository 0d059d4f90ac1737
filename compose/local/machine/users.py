"""Who else can log in to this machine: the ports of loopback are open to all of them."""

import os
import pwd

# Accounts of people on Linux and macOS begin at these numbers; `nobody` is beyond the last one.
_FIRST_PERSON = 500
_LAST_PERSON = 60_000
_NO_SHELL = ("nologin", "false", "sync", "halt", "shutdown")


def other_users() -> list[str]:
    """Names of the people beside this process's user who have an account with a shell."""
    me = os.getuid()
    return sorted(
        account.pw_name
        for account in pwd.getpwall()
        if _FIRST_PERSON <= account.pw_uid <= _LAST_PERSON
        and account.pw_uid != me
        and account.pw_shell.rpartition("/")[2] not in ("", *_NO_SHELL)
    )


def shared_machine_warning() -> str:
    """What the other users of this machine can do with a local stack; empty where there are none."""
    others = other_users()
    if not others:
        return ""
    names = ", ".join(others)
    return (
        f"other users of this machine ({names}) reach Temporal of a local stack, whose development server knows no "
        "passwords: they can read, start and end workflows, and call other teams' operations"
    )
