"""The pictures and pages of a run, made from the files of its directory."""
