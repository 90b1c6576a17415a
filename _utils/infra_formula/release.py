"""The digest of this release; written by `make generate`."""

DIGEST = "9d4303a284a3dd16a004a9e6437c976b51c46ba80c31b9da030376f005fdd727"
