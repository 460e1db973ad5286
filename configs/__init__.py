"""The recipes: a file for each network, a source for each value on its line."""
