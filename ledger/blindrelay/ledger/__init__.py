"""Accounts, limits and bills of a relay: a process beside it, without any content."""
