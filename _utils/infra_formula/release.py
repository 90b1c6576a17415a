"""The digest of this release; written by `make generate`."""

DIGEST = "5788c36f8f5b59baff89dd095d64f9361e2b8616d00dec0f6b3b9bab49cde6c2"
