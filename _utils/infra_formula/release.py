"""The digest of this release; written by `make generate`."""

DIGEST = "4bf06743accbfd8ed652cb3769f1773f8a9cdc3d6eefca5c74af0e297c41edd4"
