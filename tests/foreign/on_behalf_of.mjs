// Gets tokens about a user with an independent library.
//
// on_behalf_of.mjs msal-node|@azure/identity
//
// Reads the request as JSON from standard input, and writes tokens and refusals as JSON to standard output.

import { readFileSync } from "node:fs";

import { OnBehalfOfCredential } from "@azure/identity";
import { ConfidentialClientApplication } from "@azure/msal-node";

const asked = JSON.parse(readFileSync(0, "utf8"));

async function withMsal() {
  const application = (clientId) =>
    new ConfidentialClientApplication({
      auth: {
        clientId,
        clientSecret: asked.credential,
        authority: `${asked.authority}/${asked.tenant_id}`,
        knownAuthorities: [new URL(asked.authority).host],
      },
    });
  const client = application(asked.client_id);
  const ask = (scope) => client.acquireTokenOnBehalfOf({ oboAssertion: asked.assertion, scopes: [scope] });
  const first = await ask(asked.scope);
  const again = await ask(asked.scope);
  if (!again.fromCache || again.accessToken !== first.accessToken) {
    throw new Error("the second token is not from the cache");
  }
  const [kept] = Object.values(JSON.parse(client.getTokenCache().serialize()).RefreshToken);
  const byRefreshToken = (client, scope) =>
    client.acquireTokenByRefreshToken({ refreshToken: kept.secret, scopes: [scope] });
  const other = await byRefreshToken(client, asked.other_scope);
  const moved = await byRefreshToken(application(asked.client_id), asked.scope);
  const refused = await byRefreshToken(application(asked.other_client_id), asked.scope).catch((error) => error);
  return {
    username: first.account.username,
    home_account_id: first.account.homeAccountId,
    tokens: [first, other, moved].map((result) => result.accessToken),
    refused: { error: refused.errorCode, codes: [Number(refused.errorNo)] },
  };
}

async function withAzureIdentity() {
  const credential = new OnBehalfOfCredential({
    tenantId: asked.tenant_id,
    clientId: asked.client_id,
    clientSecret: asked.credential,
    userAssertionToken: asked.assertion,
    authorityHost: asked.authority,
    disableInstanceDiscovery: true,
  });
  const tokens = [];
  for (const scope of [asked.scope, asked.other_scope, asked.scope]) {
    tokens.push((await credential.getToken(scope)).token);
  }
  return { tokens };
}

const libraries = { "msal-node": withMsal, "@azure/identity": withAzureIdentity };
console.log(JSON.stringify(await libraries[process.argv[2]]()));
