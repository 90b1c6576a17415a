"""The digest of this release; written by `make generate`."""

DIGEST = "4fea148d34a78ebfeeb8ef4a7e2e4560e6a7d4e83952723d28edd0111a7dd2b0"
