"""The variables of `freshet up` that a role's process gets: those that it needs, and no other role's passwords."""

import os
import re

from compose.local.machine.process import variables
from workers.roles.table import ROLES

# Settings that hold a password, or lead to one, are passed on by name; every other setting of Freshet is for all roles.
_SETTINGS = (
    r"FRESHET_(?!\w*(DATABASE|PASSWORD|KAFKA_PROPERTIES|TEAM_KEYS|SCHEMA_REGISTRY))\w+"
)
# Python, the way to other machines, Temporal's client, traces.
_OF_ANY_ROLE = (
    _SETTINGS,
    r"PYTHON\w*|VIRTUAL_ENV|OMP_\w+|MKL_\w+|OPENBLAS_\w+|MALLOC_\w+",
    r"(?i:(http|https|all|no)_proxy)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE",
    r"TEMPORAL_\w+",
    r"OTEL_\w+",
)
# What a role gets for the services that it uses, by the words of the table of roles.
_OF_SERVICE = {
    "Kafka": r"FRESHET_KAFKA_(PROPERTIES|PASSWORD(_FILE)?)|KRB5\w*",
    "schema registry": r"FRESHET_SCHEMA_REGISTRY_\w+",
    "staging": r"(AWS|GOOGLE|AZURE)_\w+",
    "model files": r"(HF|HUGGINGFACE|TRANSFORMERS|SENTENCE_TRANSFORMERS|TOKENIZERS)_\w+"
    r"|(TORCH|PYTORCH|CUDA|NVIDIA|NCCL|ROCM|HIP|OV|OPENVINO|ORT|KMP)_\w+",
}
# A connection string, and its password where that is given apart.
_OF_OWNER = ("FRESHET_DATABASE_URL", "FRESHET_DATABASE_PASSWORD")
_OF_WRITER = ("FRESHET_WRITER_DATABASE_URL", "FRESHET_WRITER_DATABASE_PASSWORD")
_OF_GATEWAY = ("FRESHET_GATEWAY_DATABASE_URL", "FRESHET_GATEWAY_DATABASE_PASSWORD")


def inherited_by(role: str) -> re.Pattern[str]:
    """Names of the variables that a role's process inherits."""
    uses = ROLES[role].uses
    names = [expression for service, expression in _OF_SERVICE.items() if uses(service)]
    if role == "gateway":
        names.append("FRESHET_TEAM_KEYS")
    # A login of the role's own is not completed by what libpq's variables say of another one.
    has_login = _settings_of(role) != _OF_OWNER
    names.append(r"PG(?!PASSWORD$|USER$)\w+" if has_login else r"PG\w+")
    return variables(*_OF_ANY_ROLE, *names)


def database_variables(role: str) -> dict[str, str]:
    """The one connection string that a role needs, under the name that any process reads; empty: none is given.

    It is that of the role's login, else that of the owner.
    """
    found: dict[str, str] = {}
    for given, name in zip(_settings_of(role), _OF_OWNER, strict=True):
        for ending in ("", "_FILE"):
            value = os.environ.get(given + ending)
            if value:
                found[name + ending] = value
    return found


def _settings_of(role: str) -> tuple[str, str]:
    """The settings by which a role connects: the first of its logins that is given, else the owner's."""
    logins = (_OF_GATEWAY, _OF_WRITER) if role == "gateway" else (_OF_WRITER,)
    given = (login for login in logins if _is_given(login[0]))
    return next(given, _OF_OWNER)


def _is_given(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))
