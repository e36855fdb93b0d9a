"""Accounts, limits and bills of a relay: one process beside it, which holds the money and no content."""
