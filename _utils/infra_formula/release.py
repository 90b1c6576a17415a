"""The digest of this release; written by `make generate`."""

DIGEST = "8ce726eaa6159b89b06a5441cfef76877d76c523225f450f493d6756025d99ef"
