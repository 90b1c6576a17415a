"""The digest of this release; written by `make generate`."""

DIGEST = "435b3b28dcacea71bf042fa895bb5734105dc6b9642cbcb8a7a17d4f4d848e7e"
