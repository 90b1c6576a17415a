"""The digest of this release; written by `make generate`."""

DIGEST = "9ece46af8b17fad8d865115d8595032a0aa3582e98564960674ef0454765e492"
