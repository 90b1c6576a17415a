"""The digest of this release; written by `make generate`."""

DIGEST = "89caee861853cd4cd3c52ca6d95b59ba53c47b910a69db199fd4ac5eb575ce6f"
