"""The command line: each module is a command, or is shared by several."""
