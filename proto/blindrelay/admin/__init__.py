"""An operator's programs talk to a ledger with these messages. No relay, client or bridge uses them."""
