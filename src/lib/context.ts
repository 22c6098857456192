import type { JWK } from "jose";
import type { KeyKind } from "./ids";

/** What an isolate knows of a tenant before it asks the database; `version` says when it is out of date. */
export type Snapshot = {
  tenantId: string;
  version: number;
  /** Of the tenant's block lists when this was read. */
  blockVersion: number;
  settings: { allowedOrigins?: string[]; [name: string]: unknown };
  limits: Record<string, number>;
  features: Record<string, unknown>;
  /** Enabled ones that health has not disabled. `secrets` are there where the Worker calls while somebody waits. */
  webhooks: {
    id: string;
    name: string;
    kind: "push" | "before_message_send" | "custom_action";
    url: string;
    headers: Record<string, string>;
    filter: Record<string, unknown> | null;
    ordered: boolean;
    timeoutMs: number;
    failOpen: boolean;
    shadow: boolean;
    action: string | null;
    subscriptions: { kind: "all" | "category" | "type"; name: string }[];
    scopes: { kind: "channel" | "inbox" | "medium"; value: string }[];
    secrets: { sealed: string; masterVersion: string }[];
  }[];
  /** What differs from the defaults in channels of a type. */
  channelTypes: { name: string; settings: Record<string, unknown>; permissions: Record<string, string[]> }[];
  /** Event types of the tenant's own, with their JSON Schemas. */
  customTypes: {
    name: string;
    stream: "channel" | "user" | "tenant";
    schema: Record<string, unknown>;
    active: boolean;
  }[];
  /** Whether there is an account to push by. A hint alone: who is to be notified stands in the database. */
  pushes: boolean;
  authKeys: { id: string; algorithm: string; jwk: JWK | null; jwksUrl: string | null; scopes: string[] }[];
};

export type KeyFacts = {
  id: string;
  kind: KeyKind;
  requestsPerMinute: number | null;
  scopes: string[];
  addresses: string[];
  resources: Record<string, string[]>;
};

type UserRef = { id: string } | { externalId: string };

/** Who is asking. `user` is the user acted for, if any. */
export type Actor =
  | { kind: "key"; key: KeyFacts; user?: UserRef }
  | {
      kind: "token";
      authKeyId: string;
      scopes: string[];
      user?: { id: string };
      jti?: string;
      issuedAt: number;
      expiresAt?: number;
      resources?: Record<string, string[]>;
    }
  | { kind: "user"; user: { id: string }; jti: string; issuedAt: number; expiresAt?: number }
  | { kind: "system"; user?: { id: string } };

/** The resources that a credential is bound to, by their kind; of a kind that is not there it may touch all. */
export const boundsOf = (actor: Actor): Record<string, string[]> =>
  (actor.kind === "key" ? actor.key.resources : actor.kind === "token" ? actor.resources : undefined) ?? {};

/** An Idempotency-Key under way; `answer` is there when an earlier call has already done the work. */
export type Once = { key: string; fingerprint: string; seed: string; answer?: unknown[][] };

export type Context = {
  env: Env;
  tenantId: string;
  actor: Actor;
  snapshot: Snapshot | null;
  scope: string;
  /** Nothing is written for the user acted for: anonymous users may do no more. */
  reads?: boolean;
  requestId: string;
  ip: string | null;
  userAgent: string | null;
  once?: Once;
  /** Of the block lists that a text was held against: others hold by now if it is not the newest. */
  blockVersion?: number;
  waitUntil(work: Promise<unknown>): void;
};

/** Queue consumers, alarms and jobs act for a tenant without a credential. */
export function systemContext(env: Env, tenantId: string, waitUntil: (work: Promise<unknown>) => void): Context {
  const requestId = crypto.randomUUID();
  return {
    env,
    tenantId,
    actor: { kind: "system" },
    snapshot: null,
    scope: "",
    requestId,
    ip: null,
    userAgent: null,
    waitUntil,
  };
}
