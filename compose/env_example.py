"""Make env.example from the table of settings: `python -m compose.env_example > compose/env.example`."""

import sys

from workers.config.settings import SETTINGS

_HEAD = """\
# Settings of Freshet. Copy this file to .env beside compose.yaml, and remove the # from a line to change its setting.
# The file is made from workers/config/settings.py by `python -m compose.env_example`; a test fails if it is outdated.
# compose.yaml sets the addresses of its own services, and gives each service what it needs. Passwords of PostgreSQL are
# in files (compose/README.md, Containers). TEMPORAL_* keep their usual meaning.

# folder with the files owner_password, writer_password and gateway_password; default: secrets/ beside compose.yaml
#FRESHET_SECRETS=

# collector that traces are sent to, OTLP over HTTP; not set: none are made. Other OTEL_* variables may follow.
#OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318
"""


def render() -> str:
    """Return the text of the file."""
    lines = [_HEAD]
    for setting in SETTINGS:
        if setting.name.endswith("_PASSWORD"):
            continue
        help_line = f"# {setting.help}{setting.note()}"
        lines.append(f"{help_line}\n#{setting.name}={setting.default}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(render())
