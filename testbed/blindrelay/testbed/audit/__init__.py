"""How large the relay is, and what it stands on: measured, for whoever audits it (docs/audit.md)."""
