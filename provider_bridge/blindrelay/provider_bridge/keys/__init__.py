"""The bridge's keys: its identity, the delegations, and the sealing keys of each epoch."""
