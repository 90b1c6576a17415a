"""The digest of this release; written by `make generate`."""

DIGEST = "4a122a1271e7a7c901267f2624b255627d83be89a7fcdc5dfa977f12d9c99a44"
