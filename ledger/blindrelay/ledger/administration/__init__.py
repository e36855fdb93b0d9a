"""The admin service: what commands and pages call (blindrelay.admin.v1)."""
