"""Makes env.example from the table of settings: `python -m compose.env_example > compose/env.example`."""

import sys

from workers.config.settings import SETTINGS

_HEAD = """\
# Settings of Freshet. Copy to .env beside compose.yaml, take the # away where you change one.
# Made from workers/config/settings.py by `python -m compose.env_example`; a test says when it is out of date.
# compose.yaml itself sets the addresses of its services. TEMPORAL_* and PG* keep their usual meaning.

# Password of the database in compose.yaml.
#POSTGRES_PASSWORD=freshet
"""


def render() -> str:
    """The file's text."""
    lines = [_HEAD]
    for setting in SETTINGS:
        secret = " (secret)" if setting.secret else ""
        lines.append(f"# {setting.help}{secret}\n#{setting.name}={setting.default}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(render())
