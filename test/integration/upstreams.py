"""Servers to stand behind a portal: they answer with what reached them, and echo websockets.

Run on a machine of the lab by Salt's own Python, which has tornado: `upstreams.py PORT…`; a port
after `tls:` speaks TLS with the pair /root/upstream.{crt,key}.
"""

import asyncio
import json
import sys

import tornado.httpserver
import tornado.web
import tornado.websocket


class Echo(tornado.websocket.WebSocketHandler):
    def check_origin(self, origin):
        return True

    async def on_message(self, message):
        await self.write_message(f"echo {message}")


class Tell(tornado.web.RequestHandler):
    def get(self, path):
        self.set_header("Content-Type", "application/json")
        port = self.request.connection.context.port
        self.write(json.dumps({"uri": self.request.uri, "port": port, **self.request.headers}))

    async def post(self, path):
        self.write(str(len(self.request.body)))


class Server(tornado.httpserver.HTTPServer):
    """Knows which port a request came in on."""

    def handle_stream(self, stream, address):
        stream.port = stream.socket.getsockname()[1]
        super().handle_stream(stream, address)

    def start_request(self, server_conn, request_conn):
        request_conn.context.port = server_conn.stream.port
        return super().start_request(server_conn, request_conn)


async def main(ports):
    application = tornado.web.Application([("/ws", Echo), ("/(.*)", Tell)])
    for port in ports:
        tls = port.startswith("tls:")
        options = {"certfile": "/root/upstream.crt", "keyfile": "/root/upstream.key"}
        server = Server(
            application, ssl_options=options if tls else None, max_buffer_size=2 * 2**30
        )
        server.listen(int(port.removeprefix("tls:")))
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1:]))
