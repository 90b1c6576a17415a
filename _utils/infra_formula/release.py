"""The digest of this release; written by `make generate`."""

DIGEST = "c6aa0b19adfc764096df09945d69ecf857bb235a49f3eee36c5c610997687916"
