"""The declaration of a setting: its help, its reading, and where its value comes from."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.disclosure.error_text import public_text
from corpus.disclosure.secret import Secret, SecretFile
from corpus.errors import ConfigurationError
from workers.config import readers
from workers.config.addresses import LocalStack


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of a setting; its name is that of its field, `FRESHET_FIELD`."""

    help: str
    default: str = ""
    unit: str = ""  # of a number
    read: readers.Reader = readers.text
    secret: bool = False  # no message and no page shows its value
    # It may be in a file, which FRESHET_NAME_FILE names and which is read again when it changes; its value is a Secret.
    in_file: bool = False
    # Called where the environment has no value; what it returns comes before `default`.
    fallback: Callable[[LocalStack], str] | None = None
    before: str = ""  # the name of another program's variable, which comes first
    name: str = ""  # filled in from the field

    def note(self) -> str:
        """What the pages of settings add to the help: whether it is a secret, and may be in a file."""
        if self.in_file:
            return f" (secret), or in a file that {self.name}_FILE names"
        return " (secret)" if self.secret else ""

    def given(self) -> str:
        """The value in the environment; empty where there is none."""
        other = os.environ.get(self.before, "") if self.before else ""
        return other or os.environ.get(self.name, "")

    def resolve(self, stack: LocalStack) -> Any:
        """The value by environment, file, fallback and default, in that order.

        Raises:
            ConfigurationError: it is malformed; the message names the setting.
            DependencyError: it is the address of a service, and there is none.
        """
        if not self.in_file:
            return self._resolve_text(stack)
        given = self.given_secret()
        if given is None:
            given = Secret.of(self._resolve_text(stack))
        return given

    def given_secret(self) -> Secret | None:
        """The value in the environment, or in the file that it names; None where there is neither.

        Raises:
            ConfigurationError: it is malformed, or the file cannot be read; the message names the setting.
        """
        text = self.given()
        variable = f"{self.name}_FILE"
        path = os.environ.get(variable, "")
        if text and path:
            raise ConfigurationError(f"{self.name} and {variable} are set; keep one")
        if text:
            return Secret.of(self.parse(text))
        if not path:
            return None
        try:
            file = SecretFile(Path(path))
        except (OSError, ValueError) as error:
            reason = public_text(error)
            raise ConfigurationError(
                f"{variable}={path!r} cannot be read, or is empty: {reason}"
            ) from error
        valid = file.read()
        self.parse(valid)

        def current() -> str:
            nonlocal valid
            text = file.read()
            # What is malformed is not used: parts of it would stand in the errors of its server.
            with suppress(ConfigurationError):
                self.parse(text)
                valid = text
            return valid

        return Secret(current)

    def _resolve_text(self, stack: LocalStack) -> Any:
        text = self.given()
        if not text and self.fallback is not None:
            text = self.fallback(stack)
        if not text:
            text = self.default
        return self.parse(text)

    def parse(self, text: str) -> Any:
        """A value from its text.

        Raises:
            ConfigurationError: it is malformed; the message names the setting.
        """
        shown = self.name if self.secret else f"{self.name}={text!r}"
        try:
            # Bytes that are not UTF-8 arrive as lone surrogates, which no service takes.
            text.encode()
            return self.read(text)
        except UnicodeEncodeError:
            raise ConfigurationError(f"{shown} is not UTF-8 text") from None
        except readers.HiddenValueError as error:
            raise ConfigurationError(f"{self.name} {error}") from None
        except ValueError as error:
            raise ConfigurationError(f"{shown} {error}") from error
