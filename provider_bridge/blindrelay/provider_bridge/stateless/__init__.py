"""What a request body may hold with the bridge's own credential (spec/protocol.md, section 11.5).

What is known to be stateless is described in apis/*.toml, one file for each API; an operator's own file adds
to one. description.py reads them, rules.py is what they become, judging.py holds a JSON body to them,
form_data.py a form, and checker.py has large ones judged in another process.
"""
