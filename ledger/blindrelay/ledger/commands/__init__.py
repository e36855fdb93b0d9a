"""The operator's commands. Each makes one call of the admin service, or a few."""
