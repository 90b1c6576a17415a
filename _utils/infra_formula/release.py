"""The digest of this release; written by `make generate`."""

DIGEST = "4c3e97ea5ead858b43e294d1dae0633687e9e097091a005307df7f9ae736c86a"
