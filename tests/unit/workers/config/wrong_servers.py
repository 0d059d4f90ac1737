"""Wrong values of the settings of servers that are not always there: a schema registry, and a replica."""

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
OF_REPLICA = {
    "FRESHET_READ_REPLICA": ["replica", "host=a,b", "port=5432", "host=r user=x", "postgresql://["],
    "FRESHET_READ_REPLICA_MAX_LAG": ["0", "1", "10s", "-1"],
}
