"""Search, publishing and storage of a made corpus of a hundred thousand chunks or more."""
