"""The digest of this release; written by `make generate`."""

DIGEST = "fc56c04857110c5ee6e0c12cb963fcf16808d9fa3d66ea224165646906d6201e"
