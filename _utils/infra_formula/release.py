"""The digest of this release; written by `make generate`."""

DIGEST = "a08137f225c0852c8896087c601c3237a3102ceb31b569c5875d18c11c14f0bc"
