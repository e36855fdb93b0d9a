"""Several of each part on one machine, and what a request survives."""
