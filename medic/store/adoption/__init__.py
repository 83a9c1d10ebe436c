"""Taking over the database of the earlier system: what would happen, doing it, and the way back."""
