"""The wire contract of BlindRelay, version 1: generated messages, and what both ends must agree on.

Everything here may be imported by a relay; nothing here can open anything.
"""
