"""The name server, and how a machine resolves names."""
