"""The digest of this release; written by `make generate`."""

DIGEST = "016dff81df5c81ecc6792d1a6091b3440c8f55641be23b868ad4d3381ecf55de"
