"""The digest of this release; written by `make generate`."""

DIGEST = "c027f5d6d0a85dd532122a1ca66f900e2fc5fa4b88956284244b7af64960317b"
