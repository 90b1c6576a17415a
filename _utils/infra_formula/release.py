"""The digest of this release; written by `make generate`."""

DIGEST = "0a7ef3c82d2d2e8dea123017f92246525697a23704cfb7279b16713dd0a94d59"
