"""Make env.example from the table of settings: `python -m compose.env_example > compose/env.example`."""

import sys

from workers.config.settings import SETTINGS

_HEAD = """\
# Settings of Freshet. Copy this file to .env beside compose.yaml, and remove the # from a line to change its setting.
# The file is made from workers/config/settings.py by `python -m compose.env_example`; a test fails if it is outdated.
# compose.yaml sets the addresses of its own services. TEMPORAL_* and PG* keep their usual meaning.

# password of the database in compose.yaml; there is no default, make one: openssl rand -hex 24
#POSTGRES_PASSWORD=

# password of the login that the other roles in compose.yaml connect with; default: that of the database
#POSTGRES_WRITER_PASSWORD=

# password of the login that the gateway in compose.yaml connects with; default: that of the database
#POSTGRES_GATEWAY_PASSWORD=

# collector that traces are sent to, OTLP over HTTP; empty: none are made. Other OTEL_* variables may follow.
#OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318
"""


def render() -> str:
    """Return the text of the file."""
    lines = [_HEAD]
    for setting in SETTINGS:
        help_line = f"# {setting.help}{setting.note()}"
        lines.append(f"{help_line}\n#{setting.name}={setting.default}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(render())
