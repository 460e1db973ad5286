"""The recipes: one file a network, each value with its source on its line."""
