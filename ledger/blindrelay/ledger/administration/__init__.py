"""The admin service: what commands and page ask of a ledger (blindrelay.admin.v1)."""
