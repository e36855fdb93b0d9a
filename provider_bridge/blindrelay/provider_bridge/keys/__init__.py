"""The bridge's keys: its identity, delegations, and the sealing keys of each epoch."""
