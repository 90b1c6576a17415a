"""The digest of this release; written by `make generate`."""

DIGEST = "ff852c7fb5895f27dc0faa546125766435bcbd88cf3bef5ad17b5f8a4eedf511"
