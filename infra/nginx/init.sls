{% from "infra/map.jinja" import infra, arguments, recorded, yaml with context %}
{% set folders = ['acme', 'logs', 'repos', 'schema', 'report'] + ([] if infra.repo_enabled else [infra.repo_name]) %}
{% set directories = [] %}
{% for folder in folders %}{% do directories.append(infra.nginx_home ~ '/' ~ folder) %}{% endfor %}

include:
  - infra.pillar
  - infra.webroot
  - infra.ca
  - infra.nginx.portal
  - infra.nginx.home_states
  - infra.daemon.stable

{{ recorded('nginx', 'nginx-installation', {
     'paths': [
       '/etc/systemd/system/nginx.service.d/infra.conf',
       '/etc/nginx/conf.d',
       '/etc/nginx/conf.d/cert',
       '/etc/nginx/conf.d/haproxy',
       '/var/cache/infra-nginx',
       '/var/lib/infra/nginx-taken-out',
       '/var/log/nginx',
       '/etc/logrotate.d/infra-nginx',
       '/var/lib/infra/manifest/portal-entries.json',
       '/var/lib/infra/manifest/portal-cards.json',
       infra.nginx_home ~ '/ca.crt',
     ] + (['/etc/nginx/conf.d/cert/pigsty.crt', '/etc/nginx/conf.d/cert/pigsty.key']
          if infra.nginx_sslmode != 'disable' else []) + directories,
     'accounts': [infra.nginx_user],
     'groups': [infra.nginx_group, infra.nginx_user],
     'units': ['nginx', 'infra-nginx-put-back.timer'],
   }) }}

infra-nginx-group-present:
  group.present:
    - name: {{ yaml(infra.nginx_group) }}
    - system: true

infra-nginx-user-present:
  user.present:
    - name: {{ yaml(infra.nginx_user) }}
    - system: true
    - createhome: false
{# An account that somebody else made is taken as it is. #}
{% if not salt['user.info'](infra.nginx_user) %}
    - gid: {{ yaml(infra.nginx_group) }}
    - home: /var/cache/nginx
    - shell: /usr/sbin/nologin
{% endif %}
    - groups: [{{ yaml(infra.nginx_group) }}]
    - remove_groups: false
    - require:
      - group: infra-nginx-group-present

# What its unit may do, before the package, which starts it. One that runs goes on as it was
# started; a restart takes it up.
infra-nginx-unit-hardened:
  file.managed:
    - name: /etc/systemd/system/nginx.service.d/infra.conf
    - source: salt://infra/nginx/files/nginx.service.conf
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-nginx-unit-hardened

infra-nginx-package-installed:
  infra_package.installed:
    - component: nginx
    - pkgs: {{ yaml(arguments.nginx.packages) }}
    - require:
      - user: infra-nginx-user-present
      - module: infra-nginx-unit-hardened
    - require_in:
      - infra_portal: infra-nginx-portal-managed

{% if arguments.nginx.stream_module %}

# The vendor's nginx has it built in; that of the distribution has not.
infra-nginx-stream-module-installed:
  infra_portal.stream_module_installed:
    - pkgs: {{ yaml(arguments.nginx.stream_module) }}
    - require:
      - infra_package: infra-nginx-package-installed
    - require_in:
      - infra_portal: infra-nginx-portal-managed
{% endif %}

# What lies in the web root: folders, static sites, the CA.

infra-nginx-home-directories-present:
  file.directory:
    - names: {{ yaml(directories) }}
    - user: root
    - group: {{ yaml(infra.nginx_group) }}
    - mode: '0755'
    - makedirs: true
    - require:
      - sls: infra.webroot
      - user: infra-nginx-user-present

infra-nginx-sites-present:
  infra_portal.sites_present:
    - portal: {{ yaml(infra.infra_portal | tojson) }}
    - settings: {{ yaml(arguments.portal) }}
    - require:
      - file: infra-nginx-home-directories-present

infra-nginx-ca-published:
  file.symlink:
    - name: {{ yaml(infra.nginx_home ~ '/ca.crt') }}
    - target: /etc/pki/ca.crt
    # Pigsty has a copy there; infra_before kept one of that.
    - force: true
    - require:
      - file: infra-nginx-home-directories-present
    - require_in:
      - infra_portal: infra-nginx-pages-managed

# The portal's own certificate, for every name that it serves.

infra-nginx-certificate-directory-present:
  file.directory:
    - names:
      - /etc/nginx/conf.d
      - /etc/nginx/conf.d/cert
      - /etc/nginx/conf.d/haproxy
    - user: root
    - group: {{ yaml(infra.nginx_group) }}
    - mode: '0750'
    - makedirs: true
    - require:
      - infra_package: infra-nginx-package-installed
    - require_in:
      - infra_portal: infra-nginx-portal-managed

{% if infra.nginx_sslmode != 'disable' %}

infra-nginx-certificate-issued:
  infra_portal.certified:
    - name: /etc/nginx/conf.d/cert/pigsty.crt
    - private_key: /etc/nginx/conf.d/cert/pigsty.key
    - portal: {{ yaml(infra.infra_portal | tojson) }}
    - settings: {{ yaml(arguments.portal) }}
    - signing_cert: /etc/pki/ca.crt
    - signing_private_key: /etc/pki/ca/ca.key
    - days: {{ yaml(infra.nginx_cert_validity) }}
    - renew_days: {{ yaml(infra.cert_renew_days) }}
    - require:
      - infra_cert: infra-ca-authority-present
      - file: infra-nginx-certificate-directory-present
    - require_in:
      - infra_portal: infra-nginx-portal-managed
{% endif %}

# Answers that are kept for an entry with proxy_cache; nginx makes a folder for each.
infra-nginx-cache-directory-present:
  file.directory:
    - name: /var/cache/infra-nginx
    - user: root
    - group: {{ yaml(infra.nginx_group) }}
    - mode: '0755'
    - require:
      - infra_package: infra-nginx-package-installed
    - require_in:
      - infra_portal: infra-nginx-portal-managed

# What is asked for may hold a token, and nginx makes its logs readable by all.
infra-nginx-logs-closed:
  file.directory:
    - name: /var/log/nginx
    - user: root
    - group: {{ yaml(infra.nginx_group) }}
    - mode: '0750'
    - require:
      - infra_package: infra-nginx-package-installed

# A request is in it with its query, which may hold a token.
infra-nginx-error-log-closed:
  infra_portal.log_closed:
    - name: /var/log/nginx-error.log
    - require:
      - infra_portal: infra-nginx-portal-managed

infra-nginx-logrotate-managed:
  file.managed:
    - name: /etc/logrotate.d/infra-nginx
    - source: salt://infra/nginx/files/logrotate
    - mode: '0644'
    - user: root
    - group: root

# HTTP and HTTPS through firewalld or ufw, where one of them runs; and what SELinux has to allow.
{% if infra.node_firewall_mode == 'zone' %}

infra-nginx-firewall-open:
  infra_firewall.open:
    - ports:
      - {{ yaml(infra.nginx_port ~ '/tcp') }}
{% if infra.nginx_sslmode != 'disable' %}
      - {{ yaml(infra.nginx_ssl_port ~ '/tcp') }}
{% endif %}
{% for stream in infra.infra_streams.values() %}
      - {{ yaml(stream.listen ~ '/' ~ stream.get('protocol', 'tcp')) }}
{% endfor %}
{% for port in (infra.nginx_proxy_protocol_port, infra.nginx_proxy_protocol_ssl_port) if port %}
      - {{ yaml(port ~ '/tcp') }}
{% endfor %}
{% endif %}

{% if grains.get('selinux', {}).get('enabled', false) %}

{% set contexts = [] %}
{% for folder in (infra.nginx_home, infra.nginx_data) | unique %}{% do contexts.append(folder ~ '(/.*)?') %}{% endfor %}
{{ recorded('nginx', 'nginx-selinux', {
     'booleans': ['httpd_can_network_connect', 'httpd_can_network_relay'],
     'contexts': contexts,
   }) }}

infra-nginx-selinux-tools-installed:
  infra_package.installed:
    - component: nginx
    - name: policycoreutils-python-utils
    - reload_modules: true

{% for boolean in ('httpd_can_network_connect', 'httpd_can_network_relay') %}

infra-nginx-selinux-{{ boolean }}-on:
  selinux.boolean:
    - name: {{ boolean }}
    - value: true
    - persist: true
    - require:
      - infra_package: infra-nginx-selinux-tools-installed
{% endfor %}

{% for folder in (infra.nginx_home, infra.nginx_data) | unique %}

{{ yaml('infra-nginx-selinux-' ~ folder ~ '-labelled') }}:
  selinux.fcontext_policy_present:
    - name: {{ yaml(folder ~ '(/.*)?') }}
    - sel_type: httpd_sys_content_t
    - require:
      - infra_package: infra-nginx-selinux-tools-installed

{{ yaml('infra-nginx-selinux-' ~ folder ~ '-applied') }}:
  selinux.fcontext_policy_applied:
    - name: {{ yaml(folder) }}
    - recursive: true
    - onchanges:
      - selinux: {{ yaml('infra-nginx-selinux-' ~ folder ~ '-labelled') }}
{% endfor %}
{% endif %}

# Reloading is the configuration's own affair (infra.nginx); here nginx is started.

infra-nginx-service-running:
  infra_service.running:
    - name: nginx
    - require:
      - infra_portal: infra-nginx-portal-managed

infra-nginx-portal-serving:
  infra_portal.serving:
    - settings: {{ yaml(arguments.portal) }}
    - require:
      - infra_service: infra-nginx-service-running
      - infra_portal: infra-nginx-pages-managed
