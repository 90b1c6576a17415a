"""The digest of this release; written by `make generate`."""

DIGEST = "320d8871d197ce51eb57013947e502bb7d651c5217521feb9f72ac7ba3466c8a"
