"""Parameters: schema and validation."""
