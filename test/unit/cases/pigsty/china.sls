#!yaml
# From china.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  region: china
  language: zh
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  infra_portal:
    home:
      domain: i.pigsty
  infra_extra_services:
    - name: Wiki
      name_cn: 维基
      url: https://wiki.pigsty/
      desc: How we run things
      icon: file
  repo_modules: infra,node,pgsql
  repo_url_packages:
    - https://repo.pigsty.cc/etc/pev.html
    - name: pkg.tgz
      url: https://repo.pigsty.cc/pkg.tgz
  proxy_env:
    no_proxy: localhost,127.0.0.1,10.0.0.0/8
    http_proxy: http://10.0.0.254:3128
  node_timezone: Asia/Shanghai
  node_ntp_servers:
    - pool cn.pool.ntp.org iburst
  haproxy_enabled: true
