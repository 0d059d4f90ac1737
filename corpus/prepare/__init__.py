"""Staged events become what is to be written: fold, compare, clean, split."""
