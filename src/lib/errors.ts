/** Every code the API can answer with. The table is published in the reference; codes never change their meaning. */
export const ERRORS = {
  malformed_json: [400, "The body is not valid JSON", "Send a JSON document with Content-Type: application/json."],
  malformed_header: [400, "A header is not valid", "Correct the named header."],
  invalid_cursor: [
    400,
    "The cursor is not valid",
    "Pass nextCursor of the page before, unchanged, with the same filters.",
  ],
  missing_credential: [401, "No credential", "Send Authorization: Bearer with an API key or a token."],
  unknown_credential: [401, "Unknown credential", "Check the key or token for typing errors."],
  key_revoked: [401, "The key was revoked", "Use another key."],
  key_expired: [401, "The key has expired", "Create a new key."],
  key_disabled: [401, "The key is disabled", "Enable the key or use another."],
  token_invalid: [401, "The token is not valid", "See detail for the claim or header that is wrong."],
  token_expired: [401, "The token has expired", "Mint a new token."],
  token_revoked: [401, "The token was revoked", "Mint a new token."],
  unknown_user: [401, "The user of this credential does not exist", "Create the user first."],
  user_deactivated: [403, "The user is deactivated", "Reactivate the user."],
  tenant_suspended: [403, "The tenant is suspended", "Contact the operator of this deployment."],
  missing_scope: [403, "The credential may not do this", "Use a credential with the scope named in detail."],
  address_not_allowed: [403, "The key does not work from this address", "Add the address to the key's list."],
  resource_not_allowed: [403, "The key is not allowed on this resource", "Use a key whose resource list includes it."],
  origin_not_allowed: [403, "This origin is not allowed", "Add the origin to the tenant's allowedOrigins."],
  not_allowed: [403, "Not allowed", "The acting user may not do this."],
  anonymous_reads_only: [403, "Anonymous users read public channels only", "Act for a regular user or a guest."],
  address_blocked: [403, "The address is on a block list", "Write from elsewhere; list names it."],
  banned: [403, "The user is banned", "Wait for the ban to end, or ask a moderator."],
  channel_frozen: [403, "The channel is frozen", "Wait until it is no longer frozen."],
  not_found: [404, "Not found", "Check the id; what belongs to another tenant does not exist here."],
  unknown_recipient: [404, "No inbox takes mail for this address", "Answer the sender 550 5.1.1."],
  link_expired: [410, "The link has expired", "Ask for a new one."],
  conflict: [409, "It conflicts with what exists", "See errors for the field that is taken."],
  team_in_use: [409, "The team still has members", "Remove its members first."],
  channel_type_in_use: [409, "Channels of this type exist", "Delete them first."],
  distinct_members: [409, "A distinct channel's members are fixed", "Create a channel of these members instead."],
  inbox_deleted: [409, "The inbox was deleted", "Write from another inbox; what it received stays."],
  domain_not_verified: [
    409,
    "The domain is not verified",
    "Set the records that the domain lists, and have it verified.",
  ],
  no_conversation: [409, "The channel is no e-mail conversation", "Leave mode away, or choose a channel of an inbox."],
  domain_in_use: [409, "The domain still has inboxes", "Delete its inboxes first."],
  channel_merged: [409, "The conversation was merged into another", "Go on in the channel that its mergedInto names."],
  event_type_in_use: [
    409,
    "Webhooks subscribe to this event type",
    "Deprecate it (active: false), or take it out of their events first.",
  ],
  plan_in_use: [409, "Tenants are on this plan", "Move its tenants to another plan first."],
  idempotency_in_progress: [409, "A request with this Idempotency-Key is still running", "Try again later."],
  length_required: [411, "The length is not known", "Send Content-Length."],
  payload_too_large: [413, "The body is too large", "Send less; detail names the limit."],
  file_type_not_allowed: [415, "The plan takes no files of this type", "Send another type; allowed lists them."],
  range_not_satisfiable: [416, "The file has no such range", "Ask for bytes that lie within the file."],
  invalid_request: [422, "The request is not valid", "Correct the fields listed in errors."],
  content_blocked: [422, "The text holds what a block list forbids", "Say it otherwise; list names it."],
  message_rejected: [422, "The message was rejected", "See detail for why."],
  idempotency_key_reused: [
    422,
    "The Idempotency-Key was used with another request",
    "Use a new key for a new request.",
  ],
  plan_limit_reached: [402, "The plan's limit is reached", "Free some or move to a larger plan."],
  too_soon: [429, "The channel is in slow mode", "Wait as Retry-After says."],
  rate_limited: [429, "Too many requests", "Wait as Retry-After says."],
  internal: [500, "Something went wrong", "Try again; if it stays, report the requestId."],
  action_failed: [
    502,
    "The action's endpoint did not answer as it should",
    "See the webhook's attempts for what came back.",
  ],
  unavailable: [503, "A part of the service is not available", "Try again in a moment."],
} as const satisfies Record<string, readonly [status: number, title: string, todo: string]>;

export type ErrorCode = keyof typeof ERRORS;
export type Violation = { path: string; message: string };

export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly facts: Record<string, unknown>;
  constructor(code: ErrorCode, detail?: string, facts: Record<string, unknown> & { errors?: Violation[] } = {}) {
    super(detail ?? ERRORS[code][2]);
    this.code = code;
    this.facts = facts;
  }
}

/** Decided by the isolate's copy of the tenant's settings, which may be old: looked at anew before it is final. */
export class SnapshotError extends ApiError {}

export const isErrorCode = (code: unknown): code is ErrorCode => typeof code === "string" && code in ERRORS;

/** RFC 9457, with the code that programs decide by. */
export function problem(error: ApiError, requestId: string) {
  const [status, title] = ERRORS[error.code];
  const type = `https://parley.dev/errors/${error.code}`;
  return { type, title, status, code: error.code, detail: error.message, requestId, ...error.facts };
}

type DatabaseFault = { code?: string; detail?: string; constraint?: string; message?: string };

/** In a batch the driver throws the fault itself, outside one it is the cause. */
export function databaseFault(error: unknown): DatabaseFault | null {
  for (let e = error as (DatabaseFault & { cause?: unknown }) | undefined; e; e = e.cause as typeof e) {
    if (typeof e.code === "string" && /^[0-9A-Z]{5}$/.test(e.code)) return e;
  }
  return null;
}

const camel = (column: string) => column.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The names of unique indexes and foreign keys end in, or hold, the column that a caller knows as a field. */
export function constraintRefusal({ code, constraint = "", message = "" }: DatabaseFault): ApiError | null {
  if (code === "23505") {
    const column = /_by_(\w+)$/.exec(constraint)?.[1] ?? /^[a-z]+_(\w+)_unique$/.exec(constraint)?.[1] ?? "id";
    return new ApiError("conflict", undefined, { errors: [{ path: camel(column), message: "It is taken." }] });
  }
  if (code === "23001" || (code === "23503" && message.startsWith("update or delete"))) {
    return new ApiError("conflict", "Something else still refers to it.");
  }
  if (code === "23503") {
    const column = (/_tenant_id_(\w+?_id)_/.exec(constraint) ?? /^[a-z]+_(\w+?_id)_/.exec(constraint))?.[1] ?? "id";
    return new ApiError("invalid_request", undefined, {
      errors: [{ path: camel(column), message: "It does not exist." }],
    });
  }
  return null;
}
