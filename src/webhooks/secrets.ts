import { fromBase64, hkdf, masterSecrets, newestMaster, seal, toBase64, unseal, utf8 } from "../lib/crypto";

/** A secret as it lies in the database: sealed for this webhook of this tenant under the named master secret. */
export type SealedSecret = { sealed: string; masterVersion: string };

const sealingKey = (master: Uint8Array<ArrayBuffer>, tenantId: string) => hkdf(master, tenantId, "webhook secrets");
const boundTo = (tenantId: string, webhookId: string) => `webhook secret of ${tenantId}/${webhookId}`;

export async function sealSecret(env: Env, tenantId: string, webhookId: string, secret: string) {
  const { version, secret: master } = newestMaster(env);
  return {
    sealed: await seal(await sealingKey(master, tenantId), utf8(secret), boundTo(tenantId, webhookId)),
    masterVersion: version,
  };
}

const OPENED_MOST = 5000;
const opened = new Map<string, string>();

export async function openSecret(
  env: Env,
  tenantId: string,
  webhookId: string,
  { sealed, masterVersion }: SealedSecret,
): Promise<string> {
  const known = opened.get(`${webhookId} ${sealed}`);
  if (known !== undefined) return known;
  const master = masterSecrets(env).get(masterVersion);
  if (!master) throw new Error(`No master secret ${masterVersion}.`);
  const plain = await unseal(
    await sealingKey(master, tenantId),
    fromBase64(sealed.replaceAll("\n", "")),
    boundTo(tenantId, webhookId),
  );
  const secret = new TextDecoder().decode(plain);
  if (opened.size >= OPENED_MOST) opened.clear();
  opened.set(`${webhookId} ${sealed}`, secret);
  return secret;
}

export const openSecrets = (env: Env, tenantId: string, webhookId: string, secrets: SealedSecret[]) =>
  Promise.all(secrets.map((secret) => openSecret(env, tenantId, webhookId, secret)));

/** The same secret under the newest master: for the job that follows a rotation. */
export async function resealSecret(
  env: Env,
  row: { tenantId: string; ownerId: string; sealed: Uint8Array; masterVersion: string },
) {
  const old = { sealed: toBase64(row.sealed), masterVersion: row.masterVersion };
  return (await sealSecret(env, row.tenantId, row.ownerId, await openSecret(env, row.tenantId, row.ownerId, old)))
    .sealed;
}
