"""The digest of this release; written by `make generate`."""

DIGEST = "e8cfa0acdc4958cdb53a66faf85dcc57b8475860b6e356674736d29d870b024f"
