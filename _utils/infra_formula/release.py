"""The digest of this release; written by `make generate`."""

DIGEST = "6a1b55ad9e170ff84225cdba408c99ed9d311b8fe24ad25947af865f0d5ac443"
