"""The digest of this release; written by `make generate`."""

DIGEST = "5e9dfbf0d87a1fe603763a3374f598e42527ca82cecd7d8a98cb4ecd99edbea6"
