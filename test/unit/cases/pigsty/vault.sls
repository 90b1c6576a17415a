#!yaml
# From vault.yml, by infra_pigsty.convert. Passwords of the inventory are in here.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nginx_users:
    admin: $6$locked$no-password-makes-this
    viewer: DBUser.Viewer
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
