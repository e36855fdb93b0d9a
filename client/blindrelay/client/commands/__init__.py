"""The command line: each module is a command, or what commands share."""
