"""Raw directives (`config`) of an operator, as the tests of visitors use them."""


def raw_config(port, files):
    """Locations of an operator: plain ones, and some that inherit nothing from the server."""
    return f"""
location /plain/ {{
    proxy_pass http://127.0.0.1:{port}/;
}}
location /own-header/ {{
    proxy_set_header X-Own one;
    proxy_pass http://127.0.0.1:{port}/;
}}
location /own-host/ {{
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_pass http://127.0.0.1:{port}/;
}}
location /open/ {{
    auth_basic off;
    auth_request off;
    proxy_pass http://127.0.0.1:{port}/;
}}
location /satisfied/ {{
    satisfy any;
    allow 127.0.0.1;
    deny all;
    proxy_pass http://127.0.0.1:{port}/;
}}
location /outer/ {{
    proxy_set_header X-Outer one;
    location /outer/inner/ {{
        proxy_pass http://127.0.0.1:{port}/;
    }}
    location ~ ^/outer/(?<rest>deep.*)$ {{
        if ($request_method = POST) {{
            add_header X-Post yes;
            proxy_pass http://127.0.0.1:{port};
        }}
        proxy_pass http://127.0.0.1:{port};
    }}
}}
location /own-answer/ {{ proxy_pass http://127.0.0.1:{port}/; add_header X-Own-Answer 'a;b}}'; }}
location /ignoring/ {{
    proxy_ignore_headers Set-Cookie;
    proxy_hide_header X-Secret;
    proxy_pass http://127.0.0.1:{port}/;
}}
location /slash {{
    alias {files}/;
}}
location ^~ /files/ {{
    add_header X-Files yes;
    root {files};
}}
location ~ ^/alias/(.*)$ {{
    alias {files}/files/$1;
}}
location = /exact/.env {{
    root {files};
}}
location /moved/ {{
    rewrite ^/moved/(.*)$ /$1 permanent;
}}
location /said {{
    add_header X-Said yes;
    return 200 said;
}}
"""


RAW_PROXIED = ("/plain/x", "/own-header/x", "/own-host/x", "/outer/inner/x", "/outer/deep",
               "/own-answer/x", "/ignoring/x")  # fmt: skip
"""Paths of those locations that hand a request on."""
