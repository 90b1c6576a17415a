"""The digest of this release; written by `make generate`."""

DIGEST = "a9edf2bce3f164279ca1beed9276559f058108670ba0e3a881144aa550521386"
