#!yaml
# From wrong.yml, by infra_pigsty.convert. Passwords of the inventory are in here.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  infra_portal:
    home:
      domain: i.pigsty
    good:
      domain: good.pigsty
      endpoint: 10.10.10.9:80
  dns_records:
    - ${admin_ip} i.pigsty
  haproxy_enabled: true
