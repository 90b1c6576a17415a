"""The digest of this release; written by `make generate`."""

DIGEST = "08192101400ab2b27936942701fb9da117601d0de146962f8f73715530878f59"
