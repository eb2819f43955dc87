// Gets one token with an independent managed identity library, and prints it.
//
// node.mjs msal-node|@azure/identity RESOURCE [CLIENT_ID]

import { ManagedIdentityCredential } from "@azure/identity";
import { ManagedIdentityApplication } from "@azure/msal-node";

const [library, resource, clientId] = process.argv.slice(2);

async function token() {
  if (library === "msal-node") {
    const application = new ManagedIdentityApplication(
      clientId ? { managedIdentityIdParams: { userAssignedClientId: clientId } } : {},
    );
    const first = await application.acquireToken({ resource });
    const second = await application.acquireToken({ resource });
    if (!second.fromCache) throw new Error("the second token is not from the cache");
    return first.accessToken;
  }
  const credential = clientId ? new ManagedIdentityCredential({ clientId }) : new ManagedIdentityCredential();
  return (await credential.getToken(`${resource}/.default`)).token;
}

console.log(await token());
