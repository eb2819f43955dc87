"""Gets one token with a managed identity library that nobody here wrote, and prints it.

python.py msal|azure-identity RESOURCE [CLIENT_ID]
"""

import sys

library, resource, *client_id = sys.argv[1:]
client_id = client_id[0] if client_id else None

if library == "msal":
    import msal
    import requests

    identity = (
        msal.UserAssignedManagedIdentity(client_id=client_id)
        if client_id
        else msal.SystemAssignedManagedIdentity()
    )
    client = msal.ManagedIdentityClient(identity, http_client=requests.Session())
    result = client.acquire_token_for_client(resource=resource)
    again = client.acquire_token_for_client(resource=resource)
    if "access_token" not in result:
        sys.exit(f"no token: {result}")
    if again.get("token_source") != "cache":
        sys.exit("the second token is not from the cache")
    print(result["access_token"])
else:
    from azure.identity import ManagedIdentityCredential

    credential = ManagedIdentityCredential(client_id=client_id)
    print(credential.get_token(f"{resource}/.default").token)
