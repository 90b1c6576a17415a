# HTTP and HTTPS through firewalld or ufw, where one of them runs; and what SELinux has to allow.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.nginx.webroot

{%- if infra.node_firewall_mode == 'zone' %}

infra-nginx-firewall-open:
  infra_firewall.open:
    - ports:
      - {{ (infra.nginx_port ~ '/tcp') | tojson }}
{%- if infra.nginx_sslmode != 'disable' %}
      - {{ (infra.nginx_ssl_port ~ '/tcp') | tojson }}
{%- endif %}
{%- endif %}

{%- if grains.get('selinux', {}).get('enabled', false) %}

infra-nginx-selinux-recorded:
  infra_before.recorded:
    - name: nginx
    - booleans: [httpd_can_network_connect, httpd_can_network_relay]
    - contexts:
{%- for folder in (infra.nginx_home, infra.nginx_data) | unique %}
      - {{ (folder ~ '(/.*)?') | tojson }}
{%- endfor %}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-nginx-selinux-tools-installed:
  infra_package.installed:
    - component: nginx
    - name: policycoreutils-python-utils
    - reload_modules: true

{%- for boolean in ('httpd_can_network_connect', 'httpd_can_network_relay') %}

infra-nginx-selinux-{{ boolean }}-on:
  selinux.boolean:
    - name: {{ boolean }}
    - value: true
    - persist: true
    - require:
      - infra_package: infra-nginx-selinux-tools-installed
{%- endfor %}

{%- for folder in (infra.nginx_home, infra.nginx_data) | unique %}

{{ ('infra-nginx-selinux-' ~ folder ~ '-labelled') | tojson }}:
  selinux.fcontext_policy_present:
    - name: {{ (folder ~ '(/.*)?') | tojson }}
    - sel_type: httpd_sys_content_t
    - require:
      - infra_package: infra-nginx-selinux-tools-installed

{{ ('infra-nginx-selinux-' ~ folder ~ '-applied') | tojson }}:
  selinux.fcontext_policy_applied:
    - name: {{ folder | tojson }}
    - recursive: true
    - onchanges:
      - selinux: {{ ('infra-nginx-selinux-' ~ folder ~ '-labelled') | tojson }}
{%- endfor %}
{%- endif %}
