"""`blindrelay-bridge import`: another gateway's configuration becomes a bridge.toml."""
