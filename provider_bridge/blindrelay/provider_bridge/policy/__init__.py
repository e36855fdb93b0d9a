"""What of a request and a response may pass: URL, headers and call."""
