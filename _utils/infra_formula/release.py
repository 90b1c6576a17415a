"""The digest of this release; written by `make generate`."""

DIGEST = "d63dc5db37a5d1e6b85b330359d91a479f3b4fccffbfa75231bb435ffcb7dbf5"
