#!yaml
# From infra-only.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nginx_sslmode: enforce
  infra_portal:
    home:
      domain: i.pigsty
      auth: true
    docs:
      domain: docs.pigsty
      path: /www/docs
      index: true
  repo_enabled: false
  node_repo_modules: node,infra,pgsql
  haproxy_enabled: true
  vlogs_enabled: false
  vtraces_enabled: false
  vector_enabled: false
