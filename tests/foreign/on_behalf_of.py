"""Gets tokens about a user with a library that nobody here wrote.

on_behalf_of.py msal|azure-identity

What to ask for is JSON on standard input; the tokens, and what was refused, are JSON on standard output.
"""

import json
import sys

asked = json.load(sys.stdin)


def granted(result):
    if "access_token" not in result:
        sys.exit(f"no token: {result}")
    return result["access_token"]


def with_msal():
    import msal

    def application(client_id):
        return msal.ConfidentialClientApplication(
            client_id,
            client_credential=asked["credential"],
            authority=f"{asked['authority']}/{asked['tenant_id']}",
            instance_discovery=False,
            verify=asked["ca"],
        )

    client = application(asked["client_id"])
    first = client.acquire_token_on_behalf_of(asked["assertion"], [asked["scope"]])
    token = granted(first)
    [account] = client.get_accounts()
    again = client.acquire_token_silent_with_error([asked["scope"]], account=account)
    if again.get("token_source") != "cache" or granted(again) != token:
        sys.exit("the second token is not from the cache")
    # There is none for this resource, so that MSAL takes the refresh token.
    other = client.acquire_token_silent_with_error([asked["other_scope"]], account=account)
    [kept] = client.token_cache.search(msal.TokenCache.CredentialType.REFRESH_TOKEN)
    moved = application(asked["client_id"]).acquire_token_by_refresh_token(kept["secret"], [asked["scope"]])
    refused = application(asked["other_client_id"]).acquire_token_by_refresh_token(kept["secret"], [asked["scope"]])
    return {
        "username": account["username"],
        "home_account_id": account["home_account_id"],
        "tokens": [token, granted(other), granted(moved)],
        "refused": {"error": refused.get("error"), "codes": refused.get("error_codes")},
    }


def with_azure_identity():
    from azure.identity import OnBehalfOfCredential

    credential = OnBehalfOfCredential(
        asked["tenant_id"],
        asked["client_id"],
        client_secret=asked["credential"],
        user_assertion=asked["assertion"],
        authority=asked["authority"],
        disable_instance_discovery=True,
        connection_verify=asked["ca"],
    )
    scopes = [asked["scope"], asked["other_scope"], asked["scope"]]
    return {"tokens": [credential.get_token(scope).token for scope in scopes]}


print(json.dumps({"msal": with_msal, "azure-identity": with_azure_identity}[sys.argv[1]]()))
