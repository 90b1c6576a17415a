"""The digest of this release; written by `make generate`."""

DIGEST = "584916434f40b1a2af2630443ecaa580812ff0b0e7f30af0081c0bf566fecd85"
