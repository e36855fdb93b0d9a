"""How an operator's programs talk to a ledger. No part of the protocol: no relay, client or bridge uses it."""
