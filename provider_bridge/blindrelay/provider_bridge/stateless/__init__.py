"""What a request body may hold with the bridge's own credential (spec/protocol.md, section 11.5).

apis/*.toml describe what is known to be stateless, one file for each API, and an operator's file may add to
one.

description.py    reads them into rules (rules.py)
body_check.py     checks a body, a form or a message: json_check.py, form_data.py
checker.py        takes long strings out (long_strings.py), and checks at once what is small, anything else in
another process (checker_process.py, checker_worker.py)
"""
