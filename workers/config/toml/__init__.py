"""The tables of `freshet.toml` below those of a source and of the installation."""
