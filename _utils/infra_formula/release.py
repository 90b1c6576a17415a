"""The digest of this release; written by `make generate`."""

DIGEST = "2484c959a6d1e319450c544027366515d8c3381b8d820f9698776e8e639bc555"
