"""The check of `freshet doctor` on the ways to the servers (`workers.config.ways`)."""

from pathlib import Path

from compose.local.checks import Check, CheckFailedError


def _observe(home: Path) -> str:
    from workers.config import ways
    from workers.config.settings import load

    settings = load(home)
    refused = ways.refused(settings)
    if refused:
        sentences = [text for texts in refused.values() for text in texts]
        raise CheckFailedError("; ".join(sentences))
    accepted = [kind for kind, found in ways.problems(settings).items() if found]
    if accepted:
        return f"allowed by FRESHET_ALLOW_PLAINTEXT: {', '.join(accepted)}"
    return "every server is on this machine, or is verified and reached with encryption"


ENCRYPTION_CHECK = Check(
    "encryption",
    _observe,
    "as it says; where the network itself is trusted, name the server's kind in FRESHET_ALLOW_PLAINTEXT "
    "(postgres, kafka, temporal, staging, registry)",
)
