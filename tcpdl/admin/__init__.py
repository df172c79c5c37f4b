"""What the daemon tells its administrator: counts, whether it is well, what is under way."""
