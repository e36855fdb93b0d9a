"""The live view: a page that shows what client, relay and bridge have of an exchange (docs/live-view.md)."""
