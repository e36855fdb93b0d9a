"""Envoy as the relay's data plane: its configuration, and the process that decides what Envoy cannot.

Envoy forwards an exchange alone if its lease is valid and its key is in the map of keys. Everything else
goes to the control process, which is a relay like any other, on a Unix socket (ADR 32).
"""
