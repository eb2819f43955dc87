// node-oidc-provider as a token service for tests: `node server.mjs FOLDER TENANT PROXY_PORT`.
//
// FOLDER holds ca.pem, server.pem, server.key and clients.json, all read once at the start. The clients are the metadata
// of RFC 7591 §2, with `certificate` (PEM) in place of `jwks`.
//
// The server has two issuers over the same clients: one with TLS by Node, and one without TLS for a proxy in front. When it
// is ready, it prints their ports as a line of JSON: {"direct": 1, "proxied": 2}.

import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { once } from 'node:events';

import { Provider } from 'oidc-provider';

const [folder, tenant, proxyPort] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(folder, name));

/** Seconds. */
const TOKEN_LIFETIME = 600;
/** A scope of this resource gets a token that only introspection can read (RFC 7662); any other gets a JWT (RFC 9068). */
const OPAQUE_RESOURCE = 'https://opaque.example';
const DEFAULT_SCOPE = '/.default';
/** Scopes that name no resource. */
const USER_SCOPES = ['offline_access', 'openid', 'profile'];

/** Where the issuer is below its origin, and where Entra has its token endpoint. */
const ISSUER_PATH = `/${tenant}/v2.0`;
const ENTRA_PATH = `/${tenant}/oauth2/v2.0`;

const clients = JSON.parse(read('clients.json')).map(({ certificate, ...metadata }) => ({
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
  ...metadata,
  ...(certificate && { jwks: { keys: [jwk(new crypto.X509Certificate(certificate))] } }),
}));

/** `self_signed_tls_client_auth` compares the certificate, `private_key_jwt` needs the key alone. */
function jwk(certificate) {
  return { ...certificate.publicKey.export({ format: 'jwk' }), x5c: [certificate.raw.toString('base64')] };
}

const signingKey = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** How the server learns of the client's certificate; one for each way in. */
const byTls = {
  certificate: (ctx) => ctx.socket.getPeerX509Certificate(),
  isAuthorized: (ctx) => ctx.socket.authorized,
};
const byProxy = {
  certificate(ctx) {
    const pem = decodeURIComponent(ctx.get('x-client-certificate'));
    return pem ? new crypto.X509Certificate(pem) : undefined;
  },
  isAuthorized: (ctx) => ctx.get('x-client-verify') === 'SUCCESS',
};

function resourceIn(scope = '') {
  const scopes = scope.split(' ').filter((scope) => !USER_SCOPES.includes(scope));
  return scopes[0]?.replace(DEFAULT_SCOPE, '');
}

function provider(port, presented) {
  const provider = new Provider(`https://localhost:${port}${ISSUER_PATH}`, {
    clients,
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    ttl: { AccessToken: TOKEN_LIFETIME, ClientCredentials: TOKEN_LIFETIME },
    pkce: { required: () => true },
    // A scope of Entra, with claims about the user.
    scopes: USER_SCOPES,
    jwks: { keys: [signingKey.export({ format: 'jwk' })] },
    clientAuthMethods: [
      'client_secret_post',
      'private_key_jwt',
      'tls_client_auth',
      'self_signed_tls_client_auth',
    ],
    features: {
      clientCredentials: { enabled: true },
      // Any user name is accepted with any password.
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: presented.certificate,
        certificateAuthorized: presented.isAuthorized,
        certificateSubjectMatches(ctx, property, expected) {
          if (property !== 'tls_client_auth_san_dns') throw new Error(`${property} is not supported here`);
          const names = { subject: 'never', wildcards: false };
          return presented.certificate(ctx).checkHost(expected, names) !== undefined;
        },
      },
      resourceIndicators: {
        enabled: true,
        // As in Entra, the scope `RESOURCE/.default` names the resource, beside the scopes about the user.
        defaultResource: (ctx, client, granted) => granted ?? resourceIn(ctx.oidc.params.scope),
        // A code is for the resource that the user consented to.
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: `${resource} ${resource}${DEFAULT_SCOPE}`,
          audience: resource,
          accessTokenFormat: resource === OPAQUE_RESOURCE ? 'opaque' : 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  // Headers of the proxy are trusted on a port that only the proxy uses.
  provider.proxy = presented === byProxy;
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider.callback();
}

/** Serves a provider below its issuer's path, and its token endpoint also where Entra has it. */
function mounted(port, presented) {
  const serve = provider(port, presented);
  return (request, response) => {
    const mount = [ISSUER_PATH, ENTRA_PATH].find((mount) => request.url.startsWith(`${mount}/`));
    if (!mount) {
      response.writeHead(404).end();
      return;
    }
    // The provider derives its mount path from both.
    request.originalUrl = request.url;
    request.url = request.url.slice(mount.length);
    serve(request, response);
  };
}

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

const direct = https.createServer({
  cert: read('server.pem'),
  key: read('server.key'),
  ca: read('ca.pem'),
  requestCert: true,
  // Who the client is, is decided by the client's method, not in the handshake.
  rejectUnauthorized: false,
});
const proxied = http.createServer(mounted(proxyPort, byProxy));
const ports = { direct: await listening(direct), proxied: await listening(proxied) };
direct.on('request', mounted(ports.direct, byTls));
console.log(JSON.stringify(ports));
