"""The size of the relay and its dependencies, for an audit (docs/audit.md)."""
