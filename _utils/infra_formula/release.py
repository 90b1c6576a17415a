"""The digest of this release; written by `make generate`."""

DIGEST = "24ffd47f67eb1e3c887d11652e2b0ae55864380bae45b34b8f0ae409e48d6681"
