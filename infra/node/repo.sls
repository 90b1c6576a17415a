# Where a client's packages come from: the INFRA nodes, each of which is a whole replica, and
# upstreams. An INFRA node that has no repository of its own takes them from upstreams, too.
{% from "infra/map.jinja" import infra, fleet with context %}
{% set modules = infra.node_repo_modules.replace(' ', '').split(',') | select | list %}
{% set others = modules | reject('equalto', 'local') | list %}
{% from "infra/repo/settings.jinja" import repo with context %}
{% set local = 'local' in modules and infra.repo_enabled %}

include:
  - {{ 'infra.node.ca' if infra.identity is none else 'infra.pillar' }}

{% if modules %}
{% if others %}

# Keys that come over the network are looked at before they are trusted.
infra-node-repo-gpg-installed:
  infra_package.installed:
    - component: node
    - name: {{ infra.gpg_package | tojson }}
    - require:
      - infra_pillar: infra-pillar-valid
    - require_in:
      - infra_node: infra-node-repo-defined
{% endif %}

infra-node-repo-defined:
  infra_node.repository:
    - nodes: {{ (fleet.nodes if local else []) | tojson }}
    - ports:
        repo: {{ infra.repo_name | tojson }}
        http: {{ infra.nginx_port | tojson }}
        https: {{ infra.nginx_ssl_port | tojson }}
        ca: {{ ('/etc/pki/ca.crt' if infra.nginx_sslmode != 'disable' else none) | tojson }}
    - exclusive: {{ infra.node_repo_remove | tojson }}
    - wait: {{ infra.node_wait | tojson }}
{% if others %}
  {% set request = dict(repo.request) %}
  {% set own = {'Debian': 'u' if grains['os'] == 'Ubuntu' else 'd', 'RedHat': 'el'}[grains['os_family']] %}
  {% do request.update({
        'name': repo.name, 'home': repo.home, 'modules': others | join(','),
        'targets': [own ~ grains['osmajorrelease'] ~ '.' ~ grains['cpuarch']],
        'packages': [], 'extra_packages': [], 'url_packages': []}) %}
    - request: {{ request | tojson }}
{% endif %}
    - require:
      - {{ 'infra_node: infra-node-ca-present' if infra.identity is none
           else 'infra_pillar: infra-pillar-valid' }}
{% endif %}
