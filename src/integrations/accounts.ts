import { eq, type SQL, sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { toHex } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import { logFault } from "../lib/log";
import { own } from "../lib/rows";
import { callProvider } from "../providers/call";
import type { Account, Io, Provider } from "../providers/provider";
import { providerNamed } from "../providers/registry";
import { integrations } from "./schema";
import { bytesOfHex, openCredentials, sealCredentials } from "./vault";

type WaitUntil = (work: Promise<unknown>) => void;

/** An integration with what is sealed of it, as doors and queries hand it over: bytes in hex. */
export type Stored = {
  id: string;
  provider: string;
  config: Record<string, unknown>;
  credentials: string;
  dataKey: string;
  masterVersion: string;
};

export const selectStored = (id: string) => selectStoredBy(own(integrations, id));
export const selectStoredBy = (which: SQL | undefined) =>
  db
    .select({
      id: integrations.id,
      provider: integrations.provider,
      config: integrations.config,
      credentials: sql<string>`encode(${integrations.credentials}, 'hex')`,
      dataKey: sql<string>`encode(${integrations.dataKey}, 'hex')`,
      masterVersion: sql<string>`${integrations.masterVersion}`,
    })
    .from(integrations)
    .where(which);

/** `stored` is null for the sandbox of a tenant that has configured nothing. */
export type Opened = { provider: Provider; account: Account; stored: Stored | null };

/** Ready to be used by its provider. Stored values are read by the provider's schema of today. */
export async function openAccount(env: Env, tenantId: string, stored: Stored): Promise<Opened> {
  const provider = providerNamed(stored.provider);
  const { id, masterVersion } = stored;
  const sealed = { credentials: bytesOfHex(stored.credentials), dataKey: bytesOfHex(stored.dataKey), masterVersion };
  const credentials = await openCredentials(env, { tenantId, id }, sealed);
  const account = {
    id,
    tenantId,
    config: provider.config.parse(stored.config),
    credentials: provider.credentials.parse(credentials),
  };
  return { provider, account, stored };
}

/** For a medium that the tenant has configured nothing for. */
export function sandboxAccount(tenantId: string): Opened {
  const provider = providerNamed("sandbox");
  return {
    provider,
    account: { id: null, tenantId, config: provider.config.parse({}), credentials: {} },
    stored: null,
  };
}

type Work<T> = (provider: Provider, account: Account, io: Io) => Promise<T>;
type Further = { waitUntil: WaitUntil; callBackIn?: Io["callBackIn"] };

/** Lets the provider act. Credentials that change by it are kept, whatever comes of the rest. */
export async function useAccount<T>(
  env: Env,
  { provider, account, stored }: Opened,
  milliseconds: number,
  work: Work<T>,
  { waitUntil, callBackIn }: Further,
): Promise<T> {
  let changed = false;
  const keepCredentials = (credentials: Record<string, unknown>) => {
    account.credentials = credentials;
    changed = true;
  };
  try {
    return await callProvider(env, milliseconds, (io) => work(provider, account, io), {
      keepCredentials,
      ...(callBackIn && { callBackIn }),
    });
  } finally {
    if (changed && stored) {
      await keepCredentialsOf(env, account, stored, waitUntil).catch((error) => logFault("credentials", error));
    }
  }
}

/** Unless somebody else has put in others meanwhile. */
async function keepCredentialsOf(env: Env, account: Account, stored: Stored, waitUntil: WaitUntil): Promise<void> {
  const owner = { tenantId: account.tenantId, id: stored.id };
  const sealed = await sealCredentials(env, owner, account.credentials);
  const asOpened = eq(integrations.credentials, bytesOfHex(stored.credentials));
  await asSystem(env, account.tenantId, waitUntil, (ctx) =>
    asTenant(ctx, [
      db
        .update(integrations)
        .set({ ...sealed, updatedAt: sql<string>`now()` })
        .where(own(integrations, stored.id, asOpened)),
    ]),
  );
  stored.credentials = toHex(sealed.credentials);
}
