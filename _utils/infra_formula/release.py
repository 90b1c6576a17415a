"""The digest of this release; written by `make generate`."""

DIGEST = "7f760eafed4307834894aba1e146c294ad29b786cc6fca759cfc5d7bdd3cd4f4"
