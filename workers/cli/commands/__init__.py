"""The commands of `freshet`, one file per area."""
