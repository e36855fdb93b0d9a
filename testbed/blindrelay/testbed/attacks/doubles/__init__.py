"""Client, relay and bridge with one protection taken out: the twins of the attacks succeed against them.

A double patches names in this process for as long as its block runs. Nothing that ships has such a switch.
Each double is named by what is missing.
"""
