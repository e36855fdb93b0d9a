"""Puts an implementation of the protocol, in any language, to the test.

    python -m blindrelay.testing conformance -- COMMAND ARGUMENT…

COMMAND is a program that answers questions. It reads one JSON object a line from its standard input, and
writes its answers to its standard output. docs/conformance.md has the questions.
"""
