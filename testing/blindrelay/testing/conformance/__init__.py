"""Puts an implementation of the protocol, in any language, to the test.

    python -m blindrelay.testing conformance -- COMMAND ARGUMENT…

COMMAND is a program that answers questions: one JSON object a line on its standard input, and the answers on its
standard output. docs/conformance.md has the questions.
"""
