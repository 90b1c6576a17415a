"""The digest of this release; written by `make generate`."""

DIGEST = "e11fde541298d6ebe8e4921d91ff247415c7527b6a3fae90bdbf20bdabdc5b04"
