"""A small service for the job: numbers and cities, with a pause and now and then a failure."""

import random
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CITIES = ["Oslo", "Lima", "Kyoto", "Accra"]


class Service(BaseHTTPRequestHandler):
    """`/number/NAME` and `/city/NUMBER`."""

    def do_GET(self):
        """Answers after up to 200 ms; one in five requests fails."""
        time.sleep(random.random() / 5)
        kind, _, what = self.path.strip("/").partition("/")
        body = str(len(what)) if kind == "number" else CITIES[int(what) % len(CITIES)]
        fails = random.random() < 0.2
        self.send_response(503 if fails else 200)
        self.end_headers()
        if not fails:
            self.wfile.write(body.encode())


ThreadingHTTPServer(("127.0.0.1", 8700), Service).serve_forever()
