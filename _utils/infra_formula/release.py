"""The digest of this release; written by `make generate`."""

DIGEST = "1001cf26997f83c6710f9068a4c864381d5dcaca9a21c3ed73c54f52b0cd2ac4"
