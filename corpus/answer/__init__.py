"""Questions become answers: search, as of, wait until fresh."""
