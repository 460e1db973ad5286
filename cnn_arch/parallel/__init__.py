"""The devices of a run."""
