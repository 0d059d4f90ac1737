"""Wrong values of the settings of the schema registry."""

OF_REGISTRY = {
    "FRESHET_SCHEMA_REGISTRY_URL": [
        "registry:8081",
        "ftp://x",
        "http://",
        "https://u:p@x",
        "http://x:y",
    ],
    "FRESHET_SCHEMA_REGISTRY_LOGIN": ["freshet", "freshet:"],
    "FRESHET_SCHEMA_REGISTRY_TOKEN": ["\udcff"],
    "FRESHET_SCHEMA_REGISTRY_CA": ["ca.pem", "./ca.pem"],
    "FRESHET_SCHEMA_REGISTRY_CERTIFICATE": ["~/client.pem"],
    "FRESHET_SCHEMA_REGISTRY_PORT": ["0", "65536", "x"],
}
