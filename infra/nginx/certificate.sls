# The portal's own certificate, for every name that it serves.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}

include:
  - infra.ca.authority
  - infra.nginx.package

infra-nginx-certificate-directory-present:
  file.directory:
    - names:
      - /etc/nginx/conf.d
      - /etc/nginx/conf.d/cert
      - /etc/nginx/conf.d/haproxy
    - user: root
    - group: {{ infra.nginx_group | tojson }}
    - mode: '0750'
    - makedirs: true
    - require:
      - infra_package: infra-nginx-package-installed

{%- if infra.nginx_sslmode != 'disable' %}

infra-nginx-certificate-issued:
  infra_portal.certified:
    - name: /etc/nginx/conf.d/cert/pigsty.crt
    - private_key: /etc/nginx/conf.d/cert/pigsty.key
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - signing_cert: /etc/pki/ca.crt
    - signing_private_key: /etc/pki/ca/ca.key
    - days: {{ infra.nginx_cert_validity | tojson }}
    - renew_days: {{ infra.cert_renew_days | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
      - file: infra-nginx-certificate-directory-present
    - require_in:
      - infra_portal: infra-nginx-portal-managed
{%- endif %}
