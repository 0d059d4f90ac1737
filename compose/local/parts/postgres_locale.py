"""The character type of the local database: which characters are letters, and which of them are capitals."""

import subprocess
import sys
from functools import cache

# Names of the same thing on Linux, and on systems without C.UTF-8.
_CHARACTER_TYPES = ("C.UTF-8", "en_US.UTF-8", "UTF-8")
# It takes every byte above 127 for a small letter, quotes and dashes included.
FALLBACK = "C"
_PROBE = "import locale, sys; locale.setlocale(locale.LC_CTYPE, sys.argv[1])"


@cache
def character_type() -> str:
    """Return the first character type of Unicode that this system has, else `FALLBACK`."""
    for name in _CHARACTER_TYPES:
        # In a process of its own: a locale is a setting of all threads.
        command = [sys.executable, "-I", "-S", "-c", _PROBE, name]
        probed = subprocess.run(command, capture_output=True, check=False)
        if probed.returncode == 0:
            return name
    return FALLBACK


def initdb_options() -> list[str]:
    """Return the options of initdb; order and indexes are by code point and do not depend on the system."""
    name = character_type()
    if name == FALLBACK:
        return ["--locale=C"]
    return [
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        f"--lc-ctype={name}",
    ]
