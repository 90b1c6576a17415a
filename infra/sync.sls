# `state.apply` does not sync the library, modules and states by itself (only a highstate does), and a
# fresh minion has none. They are synced while this file is rendered, from the environment of the run,
# so that test=True has them too; if the minion has those of this digest, it need not ask the master
# for the hash of each. Nothing else may call a custom module from Jinja.
# Under salt-ssh the files are on the target only once the run has begun: a state syncs them there.
# The digest is written by `make generate`; `saltutil.sync_all` syncs whatever it is.
{%- set digest = 'e440d8bd0300764e4b1ac3f0267a212007836927ec6301faf3de3d310377d043' %}
{%- set marker = opts.extension_modules ~ '/infra_formula.synced' %}
{%- set release = opts.extension_modules ~ '/utils/infra_formula/release.py' %}
{%- set by_ssh = '__master_opts__' in opts %}
{#- The marker is written when all is synced; the library's own digest tells of a sync by others. #}
{%- set is_synced = salt['file.file_exists'](marker) and salt['file.file_exists'](release)
      and digest in salt['file.read'](marker) and digest in salt['file.read'](release) %}
{%- set synced = [] %}
{%- if not by_ssh and not is_synced %}
  {%- for kind in ('utils', 'modules', 'states') %}
    {%- do synced.extend(salt['saltutil.sync_' ~ kind](refresh=false, saltenv=saltenv)) %}
  {%- endfor %}
  {%- if synced %}
    {#- The minion's own process, which runs beacons and the mine, takes them too. #}
    {%- do salt['saltutil.refresh_modules']() %}
  {%- endif %}
{%- endif %}

infra-sync-modules-loaded:
  infra_library.synced:
    - order: first
    - environment: {{ saltenv | tojson }}
    - synced: {{ (none if by_ssh else synced) | tojson }}
    - marker: {{ marker | tojson }}
    - digest: {{ digest | tojson }}
    - reload_modules: true
