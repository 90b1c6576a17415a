"""The digest of this release; written by `make generate`."""

DIGEST = "7e63327b42819c83a319896296a139b4ba4ac2fa8f01a758d16052d4937839fb"
