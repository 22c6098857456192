/** Every scope, and which role of a user brings it. The deployment's scopes belong to its own keys alone. */
export const ROLES_WITH_SCOPE = {
  "tenant:read": ["viewer", "editor", "admin"],
  "users:read": ["viewer", "editor", "admin"],
  "events:read": ["viewer", "editor", "admin"],
  "jobs:read": ["viewer", "editor", "admin"],
  "users:write": ["editor", "admin"],
  "events:write": ["editor", "admin"],
  "jobs:write": ["editor", "admin"],
  "tenant:write": ["admin"],
  "keys:read": ["admin"],
  "keys:write": ["admin"],
  "tokens:write": ["admin"],
  "usage:read": ["admin"],
  "exports:write": ["admin"],
  "audit:read": ["admin"],
  "webhooks:read": ["admin"],
  "webhooks:write": ["admin"],
  "integrations:read": ["admin"],
  "integrations:write": ["admin"],
  "inboxes:read": ["viewer", "editor", "admin"],
  "inboxes:write": ["admin"],
  "inbound:write": ["admin"],
  "suppressions:read": ["viewer", "editor", "admin"],
  "suppressions:write": ["editor", "admin"],
  "contacts:read": ["viewer", "editor", "admin"],
  "contacts:write": ["editor", "admin"],
  "files:read": ["viewer", "editor", "admin"],
  "files:write": ["editor", "admin"],
  "channels:read": ["viewer", "editor", "admin"],
  "channels:write": ["editor", "admin"],
  "moderation:read": ["viewer", "editor", "admin"],
  "moderation:write": ["editor", "admin"],
  "campaigns:read": ["viewer", "editor", "admin"],
  "campaigns:write": ["admin"],
  "me:read": ["viewer", "editor", "admin"],
  "me:write": ["viewer", "editor", "admin"],
  "users:guest": [],
  "deployment:admin": [],
} as const satisfies Record<string, readonly ("viewer" | "editor" | "admin")[]>;

export type Scope = keyof typeof ROLES_WITH_SCOPE;
export const SCOPES = Object.keys(ROLES_WITH_SCOPE) as [Scope, ...Scope[]];

/** What any user may do with a token of their own; rows decide the rest. */
const CLIENT_SCOPES: readonly string[] = [
  "me:read",
  "me:write",
  "channels:read",
  "channels:write",
  "files:read",
  "files:write",
];

export const isClientScope = (scope: string): boolean => scope === "any" || CLIENT_SCOPES.includes(scope);
export const rolesWith = (scope: string): readonly string[] => ROLES_WITH_SCOPE[scope as Scope] ?? [];

export const ROLES = ["viewer", "editor", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** The roles that bring no scope but these, and what any user has. */
export const rolesWithin = (scopes: readonly string[]): Role[] =>
  ROLES.filter((role) =>
    SCOPES.every((scope) => !rolesWith(scope).includes(role) || isClientScope(scope) || scopes.includes(scope)),
  );

/** What an API key can be bound to. */
export type ResourceKind = "user" | "team" | "channel" | "webhook" | "inbox";

/** By the first part of the paths where it is found. */
export const RESOURCE_KINDS: Record<string, ResourceKind | undefined> = {
  users: "user",
  teams: "team",
  channels: "channel",
  messages: "channel",
  drafts: "channel",
  "scheduled-messages": "channel",
  search: "channel",
  threads: "channel",
  sync: "channel",
  moderation: "channel",
  events: "channel",
  campaigns: "channel",
  unread: "channel",
  "read-all": "channel",
  webhooks: "webhook",
  inboxes: "inbox",
  "email-statistics": "inbox",
};

export const TENANT_SCOPES = SCOPES.filter((scope) => scope !== "deployment:admin" && scope !== "users:guest");
