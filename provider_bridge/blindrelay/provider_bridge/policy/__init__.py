"""What of a request may pass: its address, its headers, its path, and events about an account."""
