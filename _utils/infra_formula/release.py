"""The digest of this release; written by `make generate`."""

DIGEST = "66c1ddc1399929debcc0a9c8d2b7100e65c24b52a0f4993612df36e003c925fe"
