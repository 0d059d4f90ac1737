"""Fixtures of the local stack's tests without a server."""

from tests.support.light_parts import light_stack

__all__ = ["light_stack"]
