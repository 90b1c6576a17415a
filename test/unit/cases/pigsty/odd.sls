#!yaml
# From odd.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  region: europe
  infra_hosts:
    10.10.10.10:
      infra_seq: 0
  nodes:
    10.10.10.10:
      node_cluster: infra
    10.10.10.31:
      node_cluster: edge
      node_packages:
        - jq
        - htop
  nginx_home: /www
  infra_portal:
    home:
      domain: i.corp.example
    wiki:
      domain: wiki.corp.example
      endpoint: '[fd00::21]:9002'
      websocket: true
    braces:
      domain: braces.corp.example
      path: /www/braces
      config: |
        # {{ not for Ansible }}
        add_header X-Braces "{{ x }}";
  infra_extra_services:
    - name: Since
      url: /since
      desc: '2026-11-24'
  dns_records:
    - 10.10.10.10 i.corp.example
    - '10.10.10.77 seven.corp.example  # meta'
  haproxy_enabled: true
