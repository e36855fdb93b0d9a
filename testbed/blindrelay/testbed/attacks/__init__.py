"""The hostile relay: attacks by name, against real clients and real bridge processes, and their twins.

An attack is a hook of a relay (relay.py) and the expected outcome (attack.py). Its twin is the same hook
against a double (doubles/) that lacks the protection. The twin must succeed: otherwise the attack proves
nothing. The attacks are in catalogue/. docs/adding-an-attack.md shows how to add one.
"""

import blindrelay.v1.grpc_env  # noqa: F401 - before the first import of grpc

# isort: split
from blindrelay.testbed.attacks.attack import Attack, Outcome, Proof
from blindrelay.testbed.attacks.catalogue import ATTACKS, attacks_named
from blindrelay.testbed.attacks.run import Row, run_attacks

__all__ = ["ATTACKS", "Attack", "Outcome", "Proof", "Row", "attacks_named", "run_attacks"]
