import { sql } from "drizzle-orm";
import { index, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";

export const USER_TYPES = ["regular", "guest", "anonymous"] as const;
export const USER_ROLES = ["viewer", "editor", "admin"] as const;
export const PUSH_PROVIDERS = ["fcm", "apns", "webpush"] as const;
export const PLATFORMS = ["android", "ios", "web"] as const;

export const users = pgTable(
  "users",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    externalId: text("external_id"),
    username: text("username"),
    displayName: text("display_name"),
    avatarUrl: text("avatar_url"),
    bio: text("bio"),
    email: text("email"),
    type: text("type", { enum: USER_TYPES }).notNull().default("regular"),
    role: text("role", { enum: USER_ROLES }),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    deactivatedAt: instant("deactivated_at"),
    lastSeenAt: instant("last_seen_at"),
    tokensRevokedAt: instant("tokens_revoked_at"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
    searchText: text("search_text").generatedAlwaysAs(
      sql`lower(coalesce(username, '') || ' ' || coalesce(display_name, '') || ' ' || coalesce(email, '') || ' ' || coalesce(external_id, ''))`,
    ),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("users_by_text").using("gin", t.tenantId, t.searchText.op("gin_trgm_ops")),
    uniqueIndex("users_by_external_id").on(t.tenantId, t.externalId),
    uniqueIndex("users_by_email").on(t.tenantId, sql`lower(${t.email})`),
    index("users_by_type").on(t.tenantId, t.type, t.id),
    index("users_active").on(t.tenantId, t.id).where(sql`${t.deactivatedAt} is null`),
    index("users_deactivated").on(t.tenantId, t.id).where(sql`${t.deactivatedAt} is not null`),
    index("users_by_last_seen").on(t.tenantId, t.lastSeenAt),
    oneOf("users_type", t.type, USER_TYPES),
    oneOf("users_role", t.role, USER_ROLES),
  ],
);

export const userDevices = pgTable(
  "user_devices",
  {
    tenantId: tenantId(),
    id: id(),
    userId: uuid("user_id").notNull(),
    deviceId: text("device_id").notNull(),
    pushProvider: text("push_provider", { enum: PUSH_PROVIDERS }),
    pushToken: text("push_token"),
    platform: text("platform", { enum: PLATFORMS }),
    lastActiveAt: instant("last_active_at"),
    registeredAt: instant("registered_at").notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("user_devices_by_device").on(t.tenantId, t.userId, t.deviceId),
    index("user_devices_by_push_token").on(t.tenantId, t.pushToken),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    oneOf("user_devices_push_provider", t.pushProvider, PUSH_PROVIDERS),
    oneOf("user_devices_platform", t.platform, PLATFORMS),
  ],
);

export const userBlocks = pgTable(
  "user_blocks",
  {
    tenantId: tenantId(),
    userId: uuid("user_id").notNull(),
    blockedUserId: uuid("blocked_user_id").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.userId, t.blockedUserId] }),
    index("user_blocks_by_blocked").on(t.tenantId, t.blockedUserId),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.blockedUserId], users).onDelete("cascade"),
  ],
);
