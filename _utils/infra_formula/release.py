"""The digest of this release; written by `make generate`."""

DIGEST = "602d1a608a689ed2b1eba73666095c3c98c15b2386fc298387750e91f8747f77"
