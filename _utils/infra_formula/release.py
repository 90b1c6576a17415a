"""The digest of this release; written by `make generate`."""

DIGEST = "37f7ead7cd77b6ae9e72204c60887472287a74b1b49d2723042836ac1431654f"
