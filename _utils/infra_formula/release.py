"""The digest of this release; written by `make generate`."""

DIGEST = "ec026054422bc659ff08f0915d1c7d6d7b8c7aa8adcc61c4c0236db82e5c53b9"
