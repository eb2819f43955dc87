"""A resource behind a server that ends TLS: PyJWT verifies the token with the keys of the token service, and what it is
bound to is compared with the certificate that the server in front passes on (RFC 8705 section 3).

Run with the URL of the keys, the issuer, the audience and the authority of the token service (PEM). Prints its port."""

import base64
import http.server
import ssl
import sys
import urllib.parse

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

keys_url, issuer, audience, authority = sys.argv[1:]
keys = jwt.PyJWKClient(keys_url, ssl_context=ssl.create_default_context(cafile=authority))


def claims(headers):
    scheme, token = headers["authorization"].split(" ", 1)
    if scheme != "mtls_pop":
        raise ValueError("the scheme is not mtls_pop")
    key = keys.get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=issuer)
    pem = urllib.parse.unquote(headers["x-client-certificate"])
    thumbprint = x509.load_pem_x509_certificate(pem.encode()).fingerprint(SHA256())
    if claims["cnf"]["x5t#S256"] != base64.urlsafe_b64encode(thumbprint).decode().rstrip("="):
        raise ValueError("the token is bound to another certificate")
    return claims


class Resource(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            said = claims(self.headers)
            status, page = 200, f"{said['appid']} {said['cnf']['x5t#S256']}"
        except Exception as error:
            status, page = 401, f"{type(error).__name__}: {error}"
        page = page.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Resource)
print(server.server_port, flush=True)
server.serve_forever()
