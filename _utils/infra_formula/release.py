"""The digest of this release; written by `make generate`."""

DIGEST = "57f29f70bdc96aa0efa1b6bd83d26a766acc1bd50faa0cb84248296b4b11520a"
