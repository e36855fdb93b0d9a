"""The leakage lab: what sizes and times at the relay tell of sealed answers, and what hiding that costs."""
