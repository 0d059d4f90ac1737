"""Searches of a standby: is it one of our primary, and how far behind is it?"""
