"""What stands in for a part of the chain where a comparison needs that part away. Never shipped."""
