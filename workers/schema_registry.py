"""The schema registry that the settings name, for what decodes records in this process."""

from ingest.decode.registry.schemas import RegistryAccess, SchemaRegistry, use_registry
from workers.config.settings import Settings


def use_schema_registry(settings: Settings) -> SchemaRegistry | None:
    """Decode with the registry of the settings from now on; None: they name none."""
    if not settings.schema_registry_url:
        return use_registry(None)
    access = RegistryAccess(
        url=settings.schema_registry_url,
        login=settings.schema_registry_login,
        token=settings.schema_registry_token,
        ca=settings.schema_registry_ca,
        certificate=settings.schema_registry_certificate,
    )
    return use_registry(access)
