"""What an operator types: each command makes one call of the admin service, or a few."""
