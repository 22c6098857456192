import type { Snapshot } from "../lib/context";
import { hasLeft } from "../lib/quota";
import { CATALOGUE, categoryOf, type EventType, type StreamKind } from "./catalogue";

type Heard = {
  type: string;
  stream: { kind: StreamKind; id: string };
  data: unknown;
  about?: { medium?: string; inboxId?: string };
};
type Subscriber = Snapshot["webhooks"][number];

/** None where the plan has no deliveries left this month: events are recorded all the same, and can be delivered again. */
const hooksOf = (snapshot: Snapshot | null): Subscriber[] =>
  snapshot && hasLeft(snapshot, "webhookDeliveries") ? snapshot.webhooks : [];

export type Candidate = Pick<Subscriber, "id" | "ordered" | "filter" | "scopes">;

export const candidatesByType = (snapshot: Snapshot | null, types: readonly string[]): Record<string, Candidate[]> =>
  Object.fromEntries(types.map((type) => [type, candidates(snapshot, type)]));

/** The endpoints that want events of a type, unless their filter or their scopes speak against it: for what only the database knows. */
export const candidates = (snapshot: Snapshot | null, type: string): Candidate[] =>
  hooksOf(snapshot)
    .filter((hook) => hook.kind === "push" && wants(hook, type))
    .map(({ id, ordered, filter, scopes }) => ({ id, ordered, filter, scopes }));

type Wanting = { id: string; ordered: boolean; scopes?: Subscriber["scopes"] };

/**
 * The endpoints that want this event; with their scopes where it is of a channel, as only the database knows a channel's
 * inbox and medium. A webhook's own troubles are told through the others.
 */
export function subscribers(snapshot: Snapshot | null, event: Heard): Wanting[] {
  const channelId = channelOf(event);
  return hooksOf(snapshot)
    .filter((hook) => hook.kind === "push" && wants(hook, event.type) && passes(hook.filter, event.data))
    .filter(
      (hook) => (event.data as { webhookId?: string } | null)?.webhookId !== hook.id || event.type === "webhook.test",
    )
    .filter((hook) => channelId !== undefined || inScope(hook, event))
    .map(({ id, ordered, scopes }) => ({
      id,
      ordered,
      ...(channelId !== undefined && scopes.length > 0 && { scopes }),
    }));
}

/** The channel that an event is of, also where it is told in a user's own stream. */
export function channelOf({ type, stream, data }: Omit<Heard, "about">): string | undefined {
  if (stream.kind === "channel") return stream.id;
  if (!(type in CATALOGUE)) return undefined;
  return (data as { channelId?: string | null } | null)?.channelId ?? undefined;
}

/**
 * The subscriptions that hear of a type. Of what only an explicit audience may see, those by name; of what may come
 * many times a second and leaves no row, not those of everything.
 */
export function hearing(type: string): Subscriber["subscriptions"] {
  const { audience, durable = true } = CATALOGUE[type as EventType] ?? ({} as { audience?: undefined; durable?: true });
  return [
    { kind: "type", name: type },
    ...(audience === "explicit" ? [] : [{ kind: "category" as const, name: categoryOf(type) }]),
    ...(audience === "explicit" || !durable ? [] : [{ kind: "all" as const, name: "*" }]),
  ];
}

const wants = (hook: Subscriber, type: string): boolean =>
  hearing(type).some((one) => hook.subscriptions.some(({ kind, name }) => kind === one.kind && name === one.name));

/** Of what is of no channel. Scopes of one kind are alternatives; each kind that is given must hold: as in_scopes() in SQL. */
function inScope(hook: Subscriber, { about }: Heard): boolean {
  const actual = { channel: undefined, inbox: about?.inboxId, medium: about?.medium };
  return (["channel", "inbox", "medium"] as const).every((kind) => {
    const allowed = hook.scopes.filter((scope) => scope.kind === kind);
    return allowed.length === 0 || allowed.some((scope) => scope.value === actual[kind]);
  });
}

type Condition = { eq?: unknown; ne?: unknown; in?: unknown[]; exists?: boolean };

/** `{ "message.metadata.priority": { "eq": "high" } }`: every path must hold; a bare value means eq. */
export function passes(filter: Record<string, unknown> | null, data: unknown): boolean {
  return Object.entries(filter ?? {}).every(([path, wanted]) => {
    const value = path
      .split(".")
      .reduce<unknown>((at, part) => (at as Record<string, unknown> | null | undefined)?.[part], data);
    const condition: Condition =
      typeof wanted === "object" && wanted !== null && !Array.isArray(wanted) ? wanted : { eq: wanted };
    if ("exists" in condition && (value !== undefined) !== condition.exists) return false;
    if ("eq" in condition && !same(value, condition.eq)) return false;
    if ("ne" in condition && same(value, condition.ne)) return false;
    return !("in" in condition) || (value !== undefined && (condition.in ?? []).some((one) => same(value, one)));
  });
}

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);
