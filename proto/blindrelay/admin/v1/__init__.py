"""The admin service of a ledger, version 1: generated messages."""
