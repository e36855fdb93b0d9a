"""Evidence that a relay can neither read nor retain, from the real processes (docs/evidence.md)."""
