"""The digest of this release; written by `make generate`."""

DIGEST = "e11f1e904f33d8c917bfdd1878d5bd51df22d3a655b3f8ebb2e640fe3bab230a"
