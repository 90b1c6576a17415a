"""The digest of this release; written by `make generate`."""

DIGEST = "60e7629aa6b7270dcb6ccd956b5687e5ad31fcc39fbdc7af15aa4de3ec0e5e4b"
