"""The digest of this release; written by `make generate`."""

DIGEST = "6a371fa0a26cd010bce89b8fae454133e0cf20e9dcc40098905e2d34177a4204"
