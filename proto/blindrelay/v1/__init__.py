"""The wire contract of BlindRelay, version 1: generated messages, and what both ends must agree on.

A relay may import everything here. Nothing here can decrypt anything.
"""
