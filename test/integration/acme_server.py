"""An ACME server and the name server that it believes, on a machine of the lab: pebble and bind."""

import json

ADDRESS = "10.10.10.53"
DIRECTORY = f"https://{ADDRESS}:14000/dir"
KEY_NAME = "certbot"
ZONE = "pigsty.cc"
FOLDER = "/etc/pebble"
PROGRAMS = ["pebble", "bind9", "bind9-dnsutils", "openssl"]

# A wildcard, so that every name of the demo's portal leads to the INFRA node.
RECORDS = f"""$TTL 0
@ SOA ns.{ZONE}. root.{ZONE}. 1 3600 600 86400 0
@ NS ns
@ A 10.10.10.10
* A 10.10.10.10
ns A {ADDRESS}
"""


class AcmeServer:
    """Pebble on a machine, as strict and as fast as a test wants it."""

    def __init__(self, machine):
        self.machine = machine

    def start(self):
        run, write = self.machine.run, self.machine.write
        run(["apt-get", "--quiet", "update"])
        run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes",
             "--no-install-recommends", "install", *PROGRAMS])  # fmt: skip
        self._start_names()
        authority = [f"{FOLDER}/ca.crt", f"{FOLDER}/ca.key"]
        write(f"{FOLDER}/config.json", json.dumps({"pebble": {
            "listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000",
            "certificate": f"{FOLDER}/own.crt", "privateKey": f"{FOLDER}/own.key",
            "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }}))  # fmt: skip
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout"]
        run([*new, authority[1], "-x509", "-days", "30", "-subj", "/CN=test-acme-ca",
             "-out", authority[0]])  # fmt: skip
        run([*new, f"{FOLDER}/own.key", "-x509", "-days", "30", "-subj", "/CN=test-acme",
             "-CA", authority[0], "-CAkey", authority[1], "-addext",
             f"subjectAltName=IP:{ADDRESS}", "-out", f"{FOLDER}/own.crt"])  # fmt: skip
        # Neither random waits nor rejected nonces, which certbot 2.1 does not survive.
        run(["systemd-run", "--unit=pebble", "--setenv=PEBBLE_VA_NOSLEEP=1",
             "--setenv=PEBBLE_WFE_NONCEREJECT=0", "--setenv=PEBBLE_AUTHZREUSE=0",
             "pebble", "-config", f"{FOLDER}/config.json",
             "-dnsserver", "127.0.0.1:53"])  # fmt: skip
        run(["curl", "--silent", "--fail", "--retry", "40", "--retry-delay", "1",
             "--retry-connrefused", "--cacert", authority[0], DIRECTORY])  # fmt: skip
        return self

    def _start_names(self):
        key = self.machine.run(["tsig-keygen", "-a", "hmac-sha256", KEY_NAME]).stdout
        self.machine.write("/etc/bind/certbot.key", key, 0o644)
        self.machine.write("/var/cache/bind/zone", RECORDS)
        self.machine.write(
            "/etc/bind/named.conf",
            'include "/etc/bind/certbot.key";\n'
            'options { directory "/var/cache/bind"; recursion no; dnssec-validation no; };\n'
            f'zone "{ZONE}" {{ type primary; file "zone";\n'
            f"    allow-update {{ key {KEY_NAME}; }}; }};\n",
        )
        self.machine.run(["chown", "-R", "bind:bind", "/var/cache/bind"])
        self.machine.run(["systemctl", "restart", "named"])

    @property
    def authority(self):
        """The CA of the server's own certificate."""
        return self.machine.read(f"{FOLDER}/ca.crt")

    @property
    def credentials(self):
        """What certbot's plugin for RFC 2136 wants to know."""
        secret = self.machine.read("/etc/bind/certbot.key").split('secret "')[1].split('"')[0]
        return (
            f"dns_rfc2136_server = {ADDRESS}\ndns_rfc2136_name = {KEY_NAME}\n"
            f"dns_rfc2136_secret = {secret}\ndns_rfc2136_algorithm = HMAC-SHA256\n"
        )

    def update(self, *lines):
        """Change records; a line is `add NAME TTL A ADDRESS` or `delete NAME`."""
        text = "\n".join(f"update {line}" for line in lines)
        self.machine.run(
            ["nsupdate", "-k", "/etc/bind/certbot.key"],
            input=f"server 127.0.0.1\nzone {ZONE}\n{text}\nsend\n",
        )

    def status(self, cert):
        """What the server says of a certificate: Valid or Revoked."""
        asked = f"https://127.0.0.1:15000/cert-status-by-serial/{cert.serial_number:x}"
        told = self.machine.run(["curl", "--silent", "--fail", "--insecure", asked]).stdout
        return json.loads(told)["Status"]

    def orders(self):
        """How many certificates were asked for, as the server's log has it."""
        said = self.machine.run(["journalctl", "--unit=pebble", "--output=cat", "--no-pager"])
        return said.stdout.count("/order-plz")
