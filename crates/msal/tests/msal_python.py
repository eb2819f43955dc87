"""Uses MSAL Python without a network: `write` prints a cache, `read` prints the tokens found in one."""

import base64
import json
import sys
import time

import msal

CLIENT_ID = "6731de76-14a6-49ae-97bc-6eba6914391e"
AUTHORITY = "https://login.microsoftonline.com/contoso.example"
VAULT = ["https://vault.azure.net/.default"]
STORAGE = ["https://storage.azure.com/.default"]


def base64url(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class HttpResponse:
    headers = {}

    def __init__(self, status_code, body):
        self.status_code = status_code
        self.text = json.dumps(body)

    def raise_for_status(self):
        if self.status_code >= 400:
            raise RuntimeError(self.status_code)


class Network:
    """Returns responses from a list and records the posted forms."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.posted = []

    def get(self, url, **_):
        return HttpResponse(200, {
            "issuer": AUTHORITY + "/v2.0",
            "authorization_endpoint": AUTHORITY + "/oauth2/v2.0/authorize",
            "token_endpoint": AUTHORITY + "/oauth2/v2.0/token",
        })

    def post(self, url, data=None, **_):
        self.posted.append(data or {})
        if self.responses:
            return HttpResponse(200, self.responses.pop(0))
        return HttpResponse(400, {"error": "invalid_grant"})

    def close(self):
        pass


def application(cache, network):
    return msal.ConfidentialClientApplication(
        CLIENT_ID, client_credential="secret", authority=AUTHORITY, token_cache=cache,
        http_client=network, instance_discovery=False)


def write():
    cache = msal.SerializableTokenCache()
    app = application(cache, Network(
        {"token_type": "Bearer", "access_token": "app-1", "expires_in": 3600, "refresh_in": 1800},
        {"token_type": "Bearer", "access_token": "user-1", "expires_in": 3600,
         "scope": "User.Read email openid profile", "refresh_token": "refresh-1",
         "client_info": base64url({"uid": "user-id", "utid": "tenant-id"}),
         "id_token": ".".join([base64url({"alg": "none"}), base64url({
             "iss": AUTHORITY, "aud": CLIENT_ID, "sub": "subject", "oid": "user-id", "tid": "tenant-id",
             "exp": int(time.time()) + 3600, "preferred_username": "user@contoso.example"}), "c2ln"])},
    ))
    assert "access_token" in app.acquire_token_for_client(VAULT)
    assert "access_token" in app.acquire_token_by_authorization_code("code", ["User.Read"])
    endpoint = AUTHORITY + "/oauth2/v2.0/token"
    for name, scope, data in [
        ("bound", "https://bound.example/.default", {"token_type": "pop", "key_id": "key"}),
        ("extended", "https://extended.example/.default", {"fmi_path": "path"}),
    ]:
        cache.add({
            "client_id": CLIENT_ID, "scope": [scope], "token_endpoint": endpoint, "data": data,
            "response": {"access_token": name, "expires_in": 3600,
                         "token_type": data.get("token_type", "Bearer")},
        })
    cache.add({
        "client_id": CLIENT_ID, "scope": ["https://expired.example/.default"], "token_endpoint": endpoint,
        "data": {}, "response": {"access_token": "expired", "expires_in": 1, "token_type": "Bearer"},
    }, now=time.time() - 3600)
    cache.add({
        "client_id": "another-client", "scope": VAULT, "token_endpoint": endpoint, "data": {},
        "response": {"access_token": "of another client", "expires_in": 3600, "token_type": "Bearer"},
    })
    return cache.serialize()


def read():
    cache = msal.SerializableTokenCache()
    cache.deserialize(sys.stdin.read())
    network = Network()
    app = application(cache, network)

    def token(result):
        return (result or {}).get("access_token")

    accounts = app.get_accounts()
    found = {
        "vault": token(app.acquire_token_for_client(VAULT)),
        "storage": token(app.acquire_token_for_client(STORAGE)),
        "accounts": [[account["home_account_id"], account["username"]] for account in accounts],
        "user": [token(app.acquire_token_silent([scope], account))
                 for account in accounts for scope in ["User.Read", "Mail.Read"]],
    }
    found["posted"] = len(network.posted)
    for account in accounts:
        app.acquire_token_silent(["Files.Read"], account)
    found["refresh_tokens"] = [data.get("refresh_token") for data in network.posted[found["posted"]:]]
    return json.dumps(found)


print({"write": write, "read": read}[sys.argv[1]]())
