"""What an exchange cost: read from the response, priced, signed, and kept until it is acknowledged."""
