"""The digest of this release; written by `make generate`."""

DIGEST = "02713ef7b649a1b66846d70ef08aece382acac5e6ee43dce82c3b5f79aadc4e6"
