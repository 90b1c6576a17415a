"""The digest of this release; written by `make generate`."""

DIGEST = "677c8c041660df609968a6a9e85cd983960367371fb27522a20c7a61496a09e1"
