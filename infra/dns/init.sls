# dnsmasq: the names of the site.
include:
  - infra.dns.package
  - infra.dns.config
  - infra.dns.firewall
  - infra.dns.service
  - infra.daemon.stable
