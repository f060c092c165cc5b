"""A mail server: it takes every letter, and prints each as a line of JSON after its address. With --deaf it accepts
connections and says nothing good."""

import argparse
import json
import socketserver

SAYS = {b"EHLO": b"250-toy\r\n250 OK", b"DATA": b"354 go on", b"QUIT": b"221 bye"}


class Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if options.deaf:
            self.say(b"554 no service")
            return
        self.say(b"220 toy")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            self.say(SAYS.get(verb, b"250 OK"))
            if verb == b"DATA":
                self.take()
            if verb == b"QUIT":
                return

    def say(self, words: bytes) -> None:
        self.wfile.write(words + b"\r\n")

    def take(self) -> None:
        lines: list[str] = []
        while (line := self.rfile.readline()).rstrip() != b".":
            lines.append(line.decode().rstrip("\r\n"))
        print(json.dumps("\n".join(lines)), flush=True)
        self.say(b"250 taken")


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--deaf", action="store_true")
options = parser.parse_args()
with socketserver.ThreadingTCPServer(("127.0.0.1", options.port), Talk) as server:
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
