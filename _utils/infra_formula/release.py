"""The digest of this release; written by `make generate`."""

DIGEST = "6cb2a658809b5c9763e68dac3da6e92d52c1c67571a01e501bea45c9a2ac818c"
