"""The digest of this release; written by `make generate`."""

DIGEST = "c6a241bdd3a4855d39dcd3782b8c498463a263dafcc9be8ac861b00870fb4295"
