"""The keys of a team: a file with one `id=base64` per line, newest first. The first signs, every one verifies."""

import base64
import os
import secrets
from pathlib import Path

from corpus.disclosure.key_lines import key_lines
from corpus.errors import ConfigurationError

MIN_KEY_BYTES = 32


def key_file(folder: Path, team: str) -> Path:
    """Where a team's keys are."""
    return folder / f"{team}.key"


def read_keys(path: Path) -> dict[str, bytes]:
    """Keys by id, newest first.

    Raises:
        ConfigurationError: the file cannot be read, holds no key, or a line is wrong; the message never shows a key.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"team keys {str(path)!r} cannot be read: {type(error).__name__}"
        ) from error
    keys: dict[str, bytes] = {}
    for line in key_lines(content):
        name, key = line.name, line.key
        if not name or len(key) < MIN_KEY_BYTES or name in keys:
            raise ConfigurationError(
                f"team keys {str(path)!r}, line {line.number}: expected id=base64 of at least {MIN_KEY_BYTES} bytes, "
                "each id once"
            )
        keys[name] = key
    if not keys:
        raise ConfigurationError(f"team keys {str(path)!r}: there is no key")
    return keys


def add_key(path: Path) -> str:
    """Put a new key before those of a file, which is created where it is missing; returns the key's id.

    The file is readable by its owner only. It is replaced as a whole, so that no reader sees half of it.
    """
    before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    key_id = secrets.token_hex(4)
    key = base64.b64encode(secrets.token_bytes(MIN_KEY_BYTES)).decode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.{key_id}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{key_id}={key}\n{before}")
    new.replace(path)
    return key_id
