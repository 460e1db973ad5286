"""Many runs of one recipe: the trials, where they run, and their results."""
