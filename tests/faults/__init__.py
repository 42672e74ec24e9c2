"""What goes wrong, and what then holds: bad input, killed jobs, two at once."""
