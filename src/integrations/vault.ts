import { hkdf, masterSecrets, newestMaster, seal, unseal, utf8 } from "../lib/crypto";

type Bytes = Uint8Array<ArrayBuffer>;

/** As doors hand bytes over. */
export const bytesOfHex = (hex: string): Bytes =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Credentials sealed with a key of their own, and that key sealed with a master secret. */
export type Sealed = { credentials: Bytes; dataKey: Bytes; masterVersion: string };

/** Whose they are: in the associated data of everything sealed, so that nothing opens in another row. */
export type Owner = { tenantId: string; id: string };

const keyBound = ({ tenantId, id }: Owner, version: string) => `integration key of ${tenantId}/${id} under ${version}`;
const credentialsBound = ({ tenantId, id }: Owner) => `integration credentials of ${tenantId}/${id}`;
const wrappingKey = (master: Bytes, tenantId: string) => hkdf(master, tenantId, "integration keys");

export async function sealCredentials(env: Env, owner: Owner, credentials: unknown): Promise<Sealed> {
  const dataKey = crypto.getRandomValues(new Uint8Array(32));
  const sealed = await seal(dataKey, utf8(JSON.stringify(credentials)), credentialsBound(owner));
  return { credentials: sealed, ...(await wrap(env, owner, dataKey)) };
}

export async function openCredentials(env: Env, owner: Owner, sealed: Sealed): Promise<unknown> {
  const dataKey = await unwrap(env, owner, sealed);
  const plain = await unseal(dataKey, sealed.credentials, credentialsBound(owner));
  return JSON.parse(new TextDecoder().decode(plain));
}

/** The same data key under the newest master secret; the credentials themselves are not touched. */
export async function rewrapKey(env: Env, owner: Owner, wrapped: Omit<Sealed, "credentials">) {
  return wrap(env, owner, await unwrap(env, owner, wrapped));
}

async function wrap(env: Env, owner: Owner, dataKey: Bytes): Promise<Omit<Sealed, "credentials">> {
  const { version, secret } = newestMaster(env);
  const key = await wrappingKey(secret, owner.tenantId);
  return { dataKey: await seal(key, dataKey, keyBound(owner, version)), masterVersion: version };
}

async function unwrap(env: Env, owner: Owner, { dataKey, masterVersion }: Omit<Sealed, "credentials">): Promise<Bytes> {
  const master = masterSecrets(env).get(masterVersion);
  if (!master) throw new Error(`There is no master secret ${masterVersion}.`);
  return unseal(await wrappingKey(master, owner.tenantId), dataKey, keyBound(owner, masterVersion));
}
