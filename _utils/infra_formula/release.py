"""The digest of this release; written by `make generate`."""

DIGEST = "af60e1cdd4a178511476a732d8c882f387d0ee118dada97628aadb25e74ac35f"
