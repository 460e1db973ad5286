"""Many runs of one recipe: what is tried, where it runs, and what came of it."""
