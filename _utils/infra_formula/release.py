"""The digest of this release; written by `make generate`."""

DIGEST = "1bc57a41f569e79e5843d2b12dfaf42baf3ff55413ad9082cd3b3a8947dbb09f"
