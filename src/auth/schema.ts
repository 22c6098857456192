import {
  bigint,
  boolean,
  cidr,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";
import type { JWK } from "jose";
import { bytea, createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { KEY_KINDS } from "../lib/ids";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const apiKeys = pgTable(
  "api_keys",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    kind: text("kind", { enum: KEY_KINDS }).notNull(),
    hash: bytea("hash").notNull(),
    hint: text("hint").notNull(),
    enabled: boolean("enabled").notNull().default(true),
    requestsPerMinute: integer("requests_per_minute"),
    expiresAt: instant("expires_at"),
    revokedAt: instant("revoked_at"),
    replacedBy: uuid("replaced_by"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("api_keys_by_hash").on(t.hash),
    index("api_keys_by_replacement").on(t.tenantId, t.replacedBy),
    references([t.tenantId, t.replacedBy], t).onDelete("set null"),
    oneOf("api_keys_kind", t.kind, KEY_KINDS),
  ],
);

export const apiKeyScopes = pgTable(
  "api_key_scopes",
  { tenantId: tenantId(), keyId: uuid("key_id").notNull(), scope: text("scope").notNull() },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.keyId, t.scope] }),
    references([t.tenantId, t.keyId], apiKeys).onDelete("cascade"),
  ],
);

/** A key with rows here may touch only these resources of their kind. */
export const apiKeyResources = pgTable(
  "api_key_resources",
  {
    tenantId: tenantId(),
    keyId: uuid("key_id").notNull(),
    kind: text("kind").notNull(),
    resourceId: uuid("resource_id").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.keyId, t.kind, t.resourceId] }),
    references([t.tenantId, t.keyId], apiKeys).onDelete("cascade"),
  ],
);

/** A key with rows here works from these addresses only. */
export const apiKeyAddresses = pgTable(
  "api_key_addresses",
  { tenantId: tenantId(), keyId: uuid("key_id").notNull(), range: cidr("range").notNull() },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.keyId, t.range] }),
    references([t.tenantId, t.keyId], apiKeys).onDelete("cascade"),
  ],
);

/** Beside the key, not in it: a request must not change what isolates have cached. */
export const apiKeyUses = pgTable(
  "api_key_uses",
  {
    tenantId: tenantId(),
    keyId: uuid("key_id").notNull(),
    lastUsedAt: instant("last_used_at").notNull(),
    requests: bigint("requests", { mode: "number" }).notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.keyId] }),
    references([t.tenantId, t.keyId], apiKeys).onDelete("cascade"),
  ],
);

export const ALGORITHMS = ["ES256", "ES384", "RS256", "EdDSA"] as const;

/** Public keys a tenant signs its own tokens with. Exactly one of `jwk` and `jwksUrl` is set. */
export const authKeys = pgTable(
  "auth_keys",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    algorithm: text("algorithm", { enum: ALGORITHMS }).notNull(),
    publicKeyPem: text("public_key_pem"),
    jwk: jsonb("jwk").$type<JWK>(),
    jwksUrl: text("jwks_url"),
    revokedAt: instant("revoked_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("auth_keys_by_algorithm").on(t.tenantId, t.algorithm),
    oneOf("auth_keys_algorithm", t.algorithm, ALGORITHMS),
  ],
);

export const authKeyScopes = pgTable(
  "auth_key_scopes",
  { tenantId: tenantId(), keyId: uuid("key_id").notNull(), scope: text("scope").notNull() },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.keyId, t.scope] }),
    references([t.tenantId, t.keyId], authKeys).onDelete("cascade"),
  ],
);

export const revokedTokens = pgTable(
  "revoked_tokens",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    jti: text("jti").notNull(),
    userId: uuid("user_id"),
    expiresAt: instant("expires_at").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.jti] }),
    index("revoked_tokens_by_user").on(t.tenantId, t.userId),
    index("revoked_tokens_by_expiry").on(t.expiresAt),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);

/** Bought with a credential, redeemed once for a socket: so that no key stands in a URL. */
export const socketTickets = pgTable(
  "socket_tickets",
  {
    tenantId: tenantId(),
    hash: bytea("hash").notNull(),
    userId: uuid("user_id").notNull(),
    deviceId: text("device_id"),
    /** What the credential was, so that revoking it closes the socket too. */
    credential: jsonb("credential").$type<Record<string, unknown>>().notNull(),
    expiresAt: instant("expires_at").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.hash] }),
    index("socket_tickets_by_user").on(t.tenantId, t.userId),
    index("socket_tickets_by_expiry").on(t.expiresAt),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);

export const SOCKET_PLACES = ["channel", "user"] as const;

/** Where sockets are, so that revoking, banning and removing finds them. Rows may be stale, never missing. */
export const liveSockets = pgTable(
  "live_sockets",
  {
    tenantId: tenantId(),
    id: id(),
    place: text("place", { enum: SOCKET_PLACES }).notNull(),
    placeId: uuid("place_id").notNull(),
    userId: uuid("user_id").notNull(),
    deviceId: text("device_id"),
    keyId: uuid("key_id"),
    jti: text("jti"),
    until: instant("until").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("live_sockets_by_place").on(t.tenantId, t.placeId),
    index("live_sockets_by_user").on(t.tenantId, t.userId),
    index("live_sockets_by_end").on(t.until),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    oneOf("live_sockets_place", t.place, SOCKET_PLACES),
  ],
);
