"""The digest of this release; written by `make generate`."""

DIGEST = "18f33330fd79590397d4d1d61e8165840192545828254cf17ed249803584423a"
