"""File sets: the life of a group of generated files."""
