"""Libraries that seal HTTP, each as a process that seals and opens in turn as it is told."""
