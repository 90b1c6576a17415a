"""The digest of this release; written by `make generate`."""

DIGEST = "30a846b20763398104ce4f760ec073d1dc34b70360a37d4e2ff79c7226e5da71"
