"""The digest of this release; written by `make generate`."""

DIGEST = "5c4c6055851f06afbe7248db112fc269afbf345ca64d43bd8dd58ea46e83f4d1"
