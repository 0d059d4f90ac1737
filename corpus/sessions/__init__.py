"""A connection string → a session of a server that Freshet can use, with the settings that it relies on."""
