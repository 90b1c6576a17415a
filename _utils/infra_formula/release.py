"""The digest of this release; written by `make generate`."""

DIGEST = "0e46b469ff65020586f1b4c3bbe4c912335a4645f87a481bb688131dd6099457"
