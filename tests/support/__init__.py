"""Fixtures, fakes and helpers that tests share."""
