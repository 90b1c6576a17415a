"""The digest of this release; written by `make generate`."""

DIGEST = "32fd92cf236bb9e93296a2fb4ddefc2004d6353ed8b6d944e005976f88bc2fb8"
