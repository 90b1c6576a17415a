"""The digest of this release; written by `make generate`."""

DIGEST = "04daa9de22b31bfddaab799594995b844316ce9995893564aefd106088204dee"
