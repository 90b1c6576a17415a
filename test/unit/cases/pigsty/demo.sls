#!yaml
# From demo.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  infra_portal:
    home:
      domain: home.pigsty.cc
      certbot: pigsty.demo
    grafana:
      domain: demo.pigsty.cc
      endpoint: ${admin_ip}:3000
      websocket: true
      certbot: pigsty.demo
    prometheus:
      domain: p.pigsty.cc
      endpoint: ${admin_ip}:8428
      certbot: pigsty.demo
    alertmanager:
      domain: a.pigsty.cc
      endpoint: ${admin_ip}:9059
      certbot: pigsty.demo
    blackbox:
      endpoint: ${admin_ip}:9115
    vmalert:
      endpoint: ${admin_ip}:8880
    postgrest:
      domain: api.pigsty.cc
      endpoint: 127.0.0.1:8884
    pgadmin:
      domain: adm.pigsty.cc
      endpoint: 127.0.0.1:8885
    pgweb:
      domain: cli.pigsty.cc
      endpoint: 127.0.0.1:8886
    bytebase:
      domain: ddl.pigsty.cc
      endpoint: 127.0.0.1:8887
    jupyter:
      domain: lab.pigsty.cc
      endpoint: 127.0.0.1:8888
      websocket: true
    gitea:
      domain: git.pigsty.cc
      endpoint: 127.0.0.1:8889
      certbot: pigsty.cc
    wiki:
      domain: wiki.pigsty.cc
      endpoint: 127.0.0.1:9002
      certbot: pigsty.cc
    noco:
      domain: noco.pigsty.cc
      endpoint: 127.0.0.1:9003
      certbot: pigsty.cc
    supa:
      domain: supa.pigsty.cc
      endpoint: 10.2.82.163:8000
      websocket: true
      certbot: pigsty.cc
    dify:
      domain: dify.pigsty.cc
      endpoint: 10.2.82.163:8001
      websocket: true
      certbot: pigsty.cc
    odoo:
      domain: odoo.pigsty.cc
      endpoint: 127.0.0.1:8069
      websocket: true
      certbot: pigsty.cc
    mm:
      domain: mm.pigsty.cc
      endpoint: 10.2.82.163:8065
      websocket: true
    web.io:
      domain: en.pigsty.cc
      path: /www/web.io
      certbot: pigsty.doc
      enforce_https: true
      config: |
        # rewrite /zh/ to /
        location /zh/ {
            rewrite ^/zh/(.*)$ /$1 permanent;
        }
    web.cc:
      domain: pigsty.cc
      path: /www/web.cc
      domains:
        - zh.pigsty.cc
      certbot: pigsty.doc
      config: |
        # rewrite /zh/ to /
        location /zh/ {
            rewrite ^/zh/(.*)$ /$1 permanent;
        }
    repo:
      domain: pro.pigsty.cc
      path: /www/repo
      index: true
      certbot: pigsty.doc
  certbot_sign: false
  certbot_email: your@email.com
  repo_enabled: false
  dns_records:
    - ${admin_ip} home.pigsty.cc demo.pigsty.cc
  haproxy_enabled: true
  vmetrics_retention: 30d
  vmetrics_options: ''
