import { z } from "@hono/zod-openapi";
import type { Violation } from "./errors";

export { z };

export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string(),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .openapi("Problem");

type Issue = { path: PropertyKey[]; message: string; code?: string; keys?: string[]; errors?: Issue[][] };
type Failure = { target?: string; error: { issues: readonly Issue[] } };

/** Of several shapes, the one that was meant: with the fewest faults. */
function nearest(issue: Issue): Issue[] {
  if (issue.code !== "invalid_union" || !issue.errors?.length) return [issue];
  const faults = (issues: Issue[]) => issues.reduce((sum, { keys }) => sum + (keys?.length ?? 1), 0);
  const [best] = issue.errors.toSorted((a, b) => faults(a) - faults(b));
  return best!.flatMap((inner) => nearest({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** Where and what is wrong; an unknown field is named itself, not the object around it. */
export function violations({ target, error }: Failure): Violation[] {
  const root = target && target !== "json" ? [target === "param" ? "path" : target] : [];
  return error.issues.flatMap(nearest).flatMap((issue) => {
    const path = (...more: PropertyKey[]) => [...root, ...issue.path, ...more].map(String).join(".");
    if (issue.code === "unrecognized_keys") {
      return (issue.keys ?? []).map((key) => ({ path: path(key), message: "There is no such field." }));
    }
    return [{ path: path(), message: issue.message }];
  });
}

const UNSTORABLE = "It holds a NUL or a lone surrogate, which cannot be stored.";

/** No NUL and no half of a surrogate pair: PostgreSQL stores neither. */
export const isStorable = (text: string): boolean => !text.includes("\0") && text.isWellFormed();

export const text = (max: number, min = 0) => z.string().min(min).max(max).refine(isStorable, UNSTORABLE);

export const name = text(255, 1);

/** A page or picture on the web: never a script, a file or data. */
export const webUrl = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine(isStorable, UNSTORABLE);

const DEEPEST = 32;

/** Walks without recursion, as a body of a megabyte can be nested deeper than any stack. */
function isStorableJson(value: unknown): boolean {
  const left: [part: unknown, depth: number][] = [[value, 0]];
  for (let next = left.pop(); next; next = left.pop()) {
    const [part, depth] = next;
    if (typeof part === "string" && !isStorable(part)) return false;
    if (typeof part === "number" && !Number.isFinite(part)) return false;
    if (typeof part !== "object" || part === null) continue;
    if (depth === DEEPEST) return false;
    for (const [key, inner] of Object.entries(part)) {
      if (!isStorable(key)) return false;
      left.push([inner, depth + 1]);
    }
  }
  return true;
}

const UNSTORABLE_JSON = {
  error: `It holds a NUL, a lone surrogate or a number too large, or is nested deeper than ${DEEPEST}.`,
  abort: true,
};

/** Any value, null included, but none at all. `z.json()` refers to itself, which the API's document cannot show. */
export const AnyJson = z
  .unknown()
  .refine((value) => value !== undefined, { error: "It is missing.", abort: true })
  .refine(isStorableJson, UNSTORABLE_JSON);

/** What the tenant owns and Parley does not read. */
export const Metadata = z
  .record(text(255, 1), z.unknown())
  .refine(isStorableJson, UNSTORABLE_JSON)
  .refine((value) => new TextEncoder().encode(JSON.stringify(value)).length <= 16_384, "It may take 16 KiB as JSON.")
  .openapi({ type: "object", additionalProperties: true });

const resourceOf = new WeakMap<object, string>();

function marked<T extends z.ZodType>(resource: string, schema: T): T {
  resourceOf.set(schema, resource);
  return schema;
}

/** The id of another row; the mark lets keys bound to resources and the isolation tests find each place that takes one. */
export const idOf = (resource: string) =>
  marked(resource, z.uuid().toLowerCase().openapi({ "x-resource": resource, format: "uuid" }));

const pathIdOf = (resource: string, name: string) =>
  marked(
    resource,
    z
      .uuid()
      .toLowerCase()
      .openapi({ "x-resource": resource, format: "uuid", param: { name, in: "path" } }),
  );

export const pathId = (resource: string) => z.strictObject({ id: pathIdOf(resource, "id") });

/** Further path parameters behind the id. */
export const pathIdAnd = <const More extends Record<string, z.ZodType>>(resource: string, more: More) =>
  z.strictObject({ id: pathIdOf(resource, "id"), ...more });

export const anotherId = (resource: string, name: string) => pathIdOf(resource, name);

export type Named = { resource: string; id: string };

/** Which resources a valid value names, wherever its schema has a place for one. */
export function namedIn(schema: unknown, value: unknown): Named[] {
  if (value === undefined || value === null) return [];
  const resource = resourceOf.get(schema as object);
  if (resource !== undefined) return [{ resource, id: String(value) }];
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) {
    return namedIn(schema.unwrap(), value);
  }
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => namedIn(option, value));
  if (schema instanceof z.ZodArray) {
    return Array.isArray(value) ? value.flatMap((item) => namedIn(schema.element, item)) : [];
  }
  if (!(schema instanceof z.ZodObject) || typeof value !== "object") return [];
  return Object.entries(schema.shape).flatMap(([key, inner]) =>
    namedIn(inner, (value as Record<string, unknown>)[key]),
  );
}

/** Years that PostgreSQL and ISO 8601 write alike. */
export const Instant = z.iso
  .datetime({ offset: true })
  .transform((value) => new Date(value).toISOString())
  .refine((value) => /^(?!0000)\d{4}-/.test(value), "The year lies between 1 and 9999.")
  .openapi({ format: "date-time" });
export const Moment = z.string().openapi({ format: "date-time" });

export const flag = z
  .enum(["true", "false"])
  .transform((value) => value === "true")
  .openapi({ type: "boolean" });
