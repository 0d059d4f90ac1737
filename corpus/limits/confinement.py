"""What a process that reads documents gives up before the first one: it computes, and answers through one descriptor.

A parser with a fault runs what a document says. So there is nothing to be had in its process: no environment, no
descriptor but its own, no file, no network, no other process. Several walls stand behind each other; which of them a
machine has, `freshet doctor` tells, and tries (`corpus.limits.probe`).
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum

_NOBODY = 65_534

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
# The numbers of these calls are the same on all architectures of Linux.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ADD_RULE = 445
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION = 1
_LANDLOCK_PATH_BENEATH = 1
# Rights below a folder: to read files and list folders; and to write, remove, make and cut files, too.
_READING = 0x000C
_WRITING = _READING | 0x4122
# By version of Landlock, what can be denied: bits of rights on files, to connect and bind, to reach other processes.
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
_NETWORK_RIGHTS = 0b11
_NETWORK_SINCE = 4
_SCOPES = 0b11
_SCOPES_SINCE = 6

_SECCOMP_LIBRARY = "libseccomp.so.2"
_SECCOMP_ERRNO_EPERM = 0x00050001
_SECCOMP_ALLOW = 0x7FFF0000
_SECCOMP_EQUAL = 4
_UNKNOWN_CALL = -1
# What computing needs: memory, time, its own threads' locks, its own end, its own descriptor. All others fail (EPERM).
_ALLOWED_CALLS = (
    *("read", "write", "readv", "writev", "close"),
    *("brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "membarrier"),
    *("futex", "futex_time64", "rseq", "set_robust_list", "sched_yield"),
    *("clock_gettime", "clock_gettime64", "clock_getres", "gettimeofday", "time"),
    *("clock_nanosleep", "clock_nanosleep_time64", "nanosleep", "restart_syscall"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid"),
    *("getrandom", "getrusage", "sysinfo", "uname", "sched_getaffinity"),
    *("exit", "exit_group"),
)
# Allowed to itself: an abort is a signal.
_ALLOWED_TO_ITSELF = ("kill", "tgkill")


class Wall(StrEnum):
    """Something that keeps a process to its documents. Values are shown."""

    NOT_ROOT = "no root"
    NO_DESCRIPTORS = "no new descriptors"
    LANDLOCK = "Landlock"
    CALL_FILTER = "system call filter"


_in_effect: list[Wall] = []


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (
        ("rights", ctypes.c_uint64),
        ("folder", ctypes.c_int32),
    )


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def load_libraries() -> None:
    """Load what `confine` needs, so that the processes that are forked from this one need not."""
    if sys.platform == "linux":
        _c_library()
        _seccomp_library()


def confine(memory_bytes: int, parent: int) -> None:
    """Give up all rights, for good; `in_effect` tells the walls that this machine has.

    Args:
        memory_bytes: address space that the process may use.
        parent: process id of the process that forked this one; this one ends with it.
    """
    walls: list[Wall] = []
    _bound_memory(memory_bytes)
    if _leave_root():
        walls.append(Wall.NOT_ROOT)
    if sys.platform == "linux":
        _end_with(parent)
        _c_library().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _deny_files_and_network():
            walls.append(Wall.LANDLOCK)
    _allow_no_descriptors()
    walls.append(Wall.NO_DESCRIPTORS)
    if sys.platform == "linux" and _filter_calls():
        walls.append(Wall.CALL_FILTER)
    _in_effect.extend(walls)


def keep_to_folders(
    *,
    readable: Sequence[str],
    writable: Sequence[str],
) -> bool:
    """Give up all files but those below some folders, the network, and other processes; False: the kernel cannot.

    Args:
        readable: folders whose files may be read.
        writable: folders whose files may be written, too.
    """
    if sys.platform != "linux":
        return False
    _c_library().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    rights = {path: _READING for path in readable}
    rights |= {path: _WRITING for path in writable}
    return _deny_files_and_network(rights)


def in_effect() -> tuple[Wall, ...]:
    """The walls around this process."""
    return tuple(_in_effect)


def _bound_memory(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _leave_root() -> bool:
    """Become nobody, whose process cannot take limits back; False: the process may not change what it is."""
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return False
    return True


def _end_with(parent: int) -> None:
    """Let the kernel end this process where its parent is killed: the work may be deaf, or never return."""
    _c_library().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _allow_no_descriptors() -> None:
    """What is open stays usable. Nothing can be opened, connected, started or written to a file any more."""
    for limit in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_NPROC,
        resource.RLIMIT_NOFILE,
    ):
        resource.setrlimit(limit, (0, 0))


def _deny_files_and_network(folders: Mapping[str, int] | None = None) -> bool:
    """Deny all that Landlock knows, but these rights below folders; False: the kernel has none."""
    library = _c_library()
    version = library.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return False
    rights = _RulesetAttributes(files=_FILE_RIGHTS[min(version, max(_FILE_RIGHTS))])
    size = ctypes.sizeof(ctypes.c_uint64)
    if version >= _NETWORK_SINCE:
        rights.network = _NETWORK_RIGHTS
        size = 2 * size
    if version >= _SCOPES_SINCE:
        rights.scopes = _SCOPES
        size = ctypes.sizeof(_RulesetAttributes)
    ruleset = library.syscall(
        _LANDLOCK_CREATE_RULESET,
        ctypes.byref(rights),
        ctypes.c_size_t(size),
        0,
    )
    if ruleset < 0:
        return False
    for path, allowed in (folders or {}).items():
        _allow_below(ruleset, path, allowed & rights.files)
    failed = library.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return failed == 0


def _allow_below(
    ruleset: int,
    path: str,
    rights: int,
) -> None:
    """What cannot be allowed stays denied."""
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = _PathBeneath(rights, folder)
    _c_library().syscall(
        _LANDLOCK_ADD_RULE,
        ruleset,
        _LANDLOCK_PATH_BENEATH,
        ctypes.byref(rule),
        0,
    )
    os.close(folder)


def _filter_calls() -> bool:
    """Let every system call fail that computing does not need; False: the machine has no libseccomp."""
    library = _seccomp_library()
    if library is None:
        return False
    rules = library.seccomp_init(_SECCOMP_ERRNO_EPERM)
    if not rules:
        return False
    rules = ctypes.c_void_p(rules)
    itself = _Comparison(0, _SECCOMP_EQUAL, os.getpid(), 0)
    for name in _ALLOWED_CALLS:
        _allow_call(library, rules, name)
    for name in _ALLOWED_TO_ITSELF:
        _allow_call(library, rules, name, itself)
    failed = library.seccomp_load(rules)
    library.seccomp_release(rules)
    return failed == 0


def _allow_call(
    library: ctypes.CDLL,
    rules: ctypes.c_void_p,
    name: str,
    *comparisons: _Comparison,
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN_CALL:
        return
    count = len(comparisons)
    array = (_Comparison * count)(*comparisons)
    library.seccomp_rule_add_array(rules, _SECCOMP_ALLOW, number, count, array)


_loaded: dict[str, ctypes.CDLL | None] = {}


def _c_library() -> ctypes.CDLL:
    library = _loaded.get("")
    if library is None:
        library = ctypes.CDLL(None, use_errno=True)
        library.syscall.restype = ctypes.c_long
        _loaded[""] = library
    return library


def _seccomp_library() -> ctypes.CDLL | None:
    """Libseccomp, which knows the numbers of the calls on each architecture; None: the machine has none."""
    if _SECCOMP_LIBRARY not in _loaded:
        library = None
        with suppress(OSError):
            library = ctypes.CDLL(_SECCOMP_LIBRARY)
            library.seccomp_init.restype = ctypes.c_void_p
        _loaded[_SECCOMP_LIBRARY] = library
    return _loaded[_SECCOMP_LIBRARY]
