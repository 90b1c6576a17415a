"""The digest of this release; written by `make generate`."""

DIGEST = "dfa3c94b2a05fc358f9c2a0563b7b25b2324c71407c3901661dbca1c614805a4"
