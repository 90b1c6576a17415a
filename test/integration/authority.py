"""A CA of an operator's own."""

from lab.host import run

SUBJECT = "/O=pigsty/OU=ca/CN=pigsty-ca"
USAGE = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"


def authority(folder, days_ago=0):
    """Make one; returns `ca_crt` and `ca_key` as a pillar gives them.

    `days_ago` is how long it is valid already, for tests that set clocks back.
    """
    crt, key = folder / "ca.crt", folder / "ca.key"
    earlier = ["faketime", "-f", f"-{days_ago}d"] if days_ago else []
    run(
        [*earlier, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
         "-subj", SUBJECT, "-keyout", str(key), "-out", str(crt), "-addext", USAGE]
    )  # fmt: skip
    return {"ca_crt": crt.read_text(), "ca_key": key.read_text()}
