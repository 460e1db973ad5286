"""What networks cost, counted from shapes: pure functions of a traced program."""
