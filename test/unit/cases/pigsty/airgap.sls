#!yaml
# From airgap.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nodes:
    10.10.10.21:
      nodename: node-1
      node_cluster: nodes
    10.10.10.22:
      nodename: node-2
      node_cluster: nodes
  infra_portal:
    home:
      domain: i.pigsty
  repo_remove: true
  dns_records:
    - ${admin_ip} i.pigsty
    - 10.10.10.1 gateway.pigsty
  node_dns_method: overwrite
  node_dns_servers:
    - ${admin_ip}
  node_repo_modules: local
  node_repo_remove: true
  node_packages:
    - openssh-server
    - chrony
    - jq
  node_ntp_servers:
    - server 10.10.10.1 iburst
    - pool ${admin_ip} iburst
  node_firewall_intranet:
    - 10.0.0.0/8
  haproxy_enabled: true
