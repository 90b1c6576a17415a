"""Talk to a websocket by name: `websocket_talk.py URL ADDRESS PORT` prints what it answers."""

import socket
import ssl
import sys

import websocket

url, address, port = sys.argv[1:]
raw = socket.create_connection((address, int(port)), 10)
if url.startswith("wss:"):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = context.wrap_socket(raw, server_hostname=url.split("/")[2].split(":")[0])
channel = websocket.create_connection(url, socket=raw, timeout=10)
channel.send("hello")
print(channel.recv())
channel.close()
