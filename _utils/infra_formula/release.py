"""The digest of this release; written by `make generate`."""

DIGEST = "b782b24b4202b3d6b9f22b8ce2b07a9d7d796f83d94a4ae0734bb8da97f3df4f"
