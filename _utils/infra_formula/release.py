"""The digest of this release; written by `make generate`."""

DIGEST = "04b507c75368c61a57787ab0ea61faafab28d354b08e2a0058c25629c1e72908"
