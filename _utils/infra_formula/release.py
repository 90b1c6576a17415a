"""The digest of this release; written by `make generate`."""

DIGEST = "9155e912ff7abf7ee8db7856ea3c65af648b852e75056a6fb040a82d8f800e40"
