#!yaml
# From vault.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  infra_portal:
    home:
      domain: i.pigsty
    hidden:
      domain: hidden.pigsty
      path: /www/hidden
      auth: true
  proxy_env:
    no_proxy: localhost
  haproxy_enabled: true
