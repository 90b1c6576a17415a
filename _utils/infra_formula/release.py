"""The digest of this release; written by `make generate`."""

DIGEST = "90354c5592d3bfa73525e1a55886c9a40539e73f8de1bc0380377db47bbfc15b"
