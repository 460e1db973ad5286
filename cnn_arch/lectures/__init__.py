"""What lecture notes say of networks, and what is counted."""
