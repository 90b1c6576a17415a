# `state.apply` does not sync the library, modules and states by itself (only a highstate does), and a
# fresh minion has none. They are synced while this file is rendered, from the environment of the run,
# so that test=True has them too. Nothing else may call a custom module from Jinja.
# Under salt-ssh the files are on the target only once the run has begun: a state syncs them there.
{%- set synced = [] %}
{%- set by_ssh = '__master_opts__' in opts %}
{%- if not by_ssh %}
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
    - reload_modules: true
