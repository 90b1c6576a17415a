"""The digest of this release; written by `make generate`."""

DIGEST = "bf1a4584a2789c2df31da4a858ac7ea93e8caef01339c96dbcf29c069206f91d"
