"""What the daemon writes of what it does: its log, and a line for each answer."""
