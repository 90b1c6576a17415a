"""The digest of this release; written by `make generate`."""

DIGEST = "3f30a196ba4ef0085f8f73302db4033213ec6ce4126acf0b5abab850c6be58be"
