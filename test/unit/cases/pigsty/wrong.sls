#!yaml
# From wrong.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
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
    noport:
      domain: noport.pigsty
      endpoint: 10.10.10.9:80
  dns_records:
    - ${admin_ip} i.pigsty
  haproxy_enabled: true
  vmetrics_retention: 31d
  vmetrics_options: ''
