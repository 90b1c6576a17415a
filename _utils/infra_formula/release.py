"""The digest of this release; written by `make generate`."""

DIGEST = "7ecdb7545066d2844832e62c770053d197fe9da324dca3401f0287eaf5295b49"
