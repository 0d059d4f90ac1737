"""The check of `freshet doctor` on the installation: is all that the settings name its own?"""

import asyncio
from pathlib import Path

from compose.local.checks import Check, CheckFailedError


def _observe(home: Path) -> str:
    from corpus.database import connect, database_errors_translated
    from corpus.installation.identity import read_installation
    from workers.config.settings import load
    from workers.installation import problems

    settings = load(home)
    wrong = asyncio.run(problems(settings))
    if wrong:
        raise CheckFailedError("; ".join(wrong))
    with (
        connect(settings.database_url, application="freshet-doctor") as connection,
        database_errors_translated(),
    ):
        installation = read_installation(connection)
    return installation.describe()


INSTALLATION_CHECK = Check(
    "installation",
    _observe,
    "correct the setting that leads to another installation; `freshet installation show` has what this one uses",
)
