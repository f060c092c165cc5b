"""Accepts connections and never answers."""

import socket

from serving import arguments

if __name__ == "__main__":
    options = arguments().parse_args()
    with socket.create_server((options.host, options.port)) as listener:
        print(f"http://{options.host}:{listener.getsockname()[1]}/mcp", flush=True)
        held = []
        while True:
            held.append(listener.accept())
