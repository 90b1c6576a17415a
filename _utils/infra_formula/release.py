"""The digest of this release; written by `make generate`."""

DIGEST = "fa7589b02477b8a4f22823ce1dd9fde493bd01473a7bd6921c89783e228dabee"
