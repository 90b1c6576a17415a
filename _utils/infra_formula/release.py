"""The digest of this release; written by `make generate`."""

DIGEST = "229287edffebee7aea6c4fb80315ddd33dfb4f0a2dd0304b4e3d741ae894c790"
