"""Traces: what the real relay sees of texts that a provider replays."""
