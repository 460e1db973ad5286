"""Published archives and users' folders, written as records that training reads."""
