import * as fc from "fast-check";
import type { Operation, Parameter, Schema } from "./spec";

/** Stands in generated text for the id of something that is there when the request is sent. */
const token = (kind: string, n: number) => `@${kind}.${n}@`;
export const TOKEN = /@(\w+)\.(\d+)@/g;

type Kind = (resource: string) => string;

/** What the schema accepts. */
export function valid(schema: Schema, kind: Kind): fc.Arbitrary<unknown> {
  const resource = schema["x-resource"];
  if (resource) return fc.oneof({ weight: 30, arbitrary: fc.nat(99).map((n) => token(kind(resource), n)) }, fc.uuid());
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((branch) => valid(branch, kind)));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const types = [schema.type ?? "any"].flat();
  return fc.oneof(...types.map((type) => ofType(type, schema, kind)));
}

function ofType(type: string, schema: Schema, kind: Kind): fc.Arbitrary<unknown> {
  const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER, minItems = 0, maxItems = 4 } = schema;
  switch (type) {
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "integer":
      return fc.oneof(fc.integer({ min: minimum, max: maximum }), fc.constantFrom(minimum, maximum));
    case "number":
      return fc.double({ noNaN: true, noDefaultInfinity: true });
    case "string":
      return validText(schema);
    case "array":
      return fc.array(valid(schema.items ?? {}, kind), {
        minLength: minItems,
        maxLength: Math.min(maxItems, minItems + 4),
      });
    case "object":
      return validObject(schema, kind);
    default:
      return fc.jsonValue({ maxDepth: 3 });
  }
}

function validObject({ properties = {}, required = [], additionalProperties }: Schema, kind: Kind) {
  const declared = Object.fromEntries(Object.entries(properties).map(([name, child]) => [name, valid(child, kind)]));
  const least = Object.fromEntries(required.map((name) => [name, declared[name]!]));
  const named = fc.oneof(fc.record(declared, { requiredKeys: required as never[] }), fc.record(least));
  if (!additionalProperties) return named;
  const child = additionalProperties === true ? fc.jsonValue({ maxDepth: 3 }) : valid(additionalProperties, kind);
  return fc.tuple(fc.dictionary(fc.string(), child, { maxKeys: 3 }), named).map(([more, own]) => ({ ...more, ...own }));
}

const FORMATS: Record<string, fc.Arbitrary<string>> = {
  uuid: fc.uuid(),
  "date-time": fc
    .date({ min: new Date("0001-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59Z"), noInvalidDate: true })
    .map((date) => date.toISOString()),
  email: fc.emailAddress(),
  uri: fc.webUrl(),
};

function validText({ format, pattern, minLength = 0, maxLength = 200 }: Schema): fc.Arbitrary<string> {
  if (format && FORMATS[format]) return FORMATS[format];
  if (pattern)
    return fc.stringMatching(new RegExp(pattern), { size: "small" }).filter((text) => text.length <= maxLength);
  const most = Math.min(maxLength, minLength + 60);
  return fc
    .string({ unit: "grapheme", minLength: Math.min(minLength, most), maxLength: most })
    .map((text) => text.slice(0, maxLength).toWellFormed().padEnd(minLength, "."));
}

const nested = (depth: number, array: boolean): unknown => {
  let inner: unknown = 1;
  for (let i = 0; i < depth; i++) inner = array ? [inner] : { a: inner };
  return inner;
};

/** Text that has broken somebody before. */
const NASTY = [
  "",
  " ",
  "\0",
  "a\0b",
  "\ud800",
  "\udc00\ud800",
  "\ufeff",
  "\u202egnp.exe",
  "a".repeat(5000),
  "🏴‍☠️".repeat(60),
  "'; drop table users; --",
  "\\",
  "%",
  "%00",
  "{{7*7}}",
  "__proto__",
  "constructor",
  "null",
  "undefined",
  "NaN",
  "-1",
  "0",
  "1e999",
  "99999999999999999999",
  "0x10",
  "true",
  "[]",
  "../../etc/passwd",
  "00000000-0000-0000-0000-000000000000",
  "ffffffff-ffff-ffff-ffff-ffffffffffff",
  "0000-00-00T00:00:00Z",
  "9999-12-31T23:59:60Z",
  "+275760-09-13T00:00:00.000Z",
  "-000001-01-01T00:00:00Z",
  "2024-02-30T00:00:00Z",
  "2024-01-01T00:00:00+99:99",
  "infinity",
  "1/0",
  "a@b",
  "javascript:alert(1)",
  "http://[::1]:1/",
  "http://user:pw@127.0.0.1/",
  "0.0.0.0/0",
  "999.999.999.999",
  "::/0",
];

export const garbageText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...NASTY),
  fc.string({ unit: "binary", maxLength: 50 }),
  fc.string({ maxLength: 50 }),
);

export const garbage: fc.Arbitrary<unknown> = fc.oneof(
  garbageText,
  fc.constantFrom(null, true, false, 0, -1, 0.5, 1e21, 1e308, -1e308, 2 ** 31, 2 ** 53, 2 ** 63, [], {}, [null], [[]], {
    "": "",
  }),
  fc.jsonValue({ maxDepth: 4 }),
  fc.tuple(fc.constantFrom(5, 31, 33, 100, 2000), fc.boolean()).map(([depth, array]) => nested(depth, array)),
  fc.constant(JSON.parse('{"__proto__": {"admin": true}, "constructor": {"prototype": 1}}')),
);

/** A valid value with one place spoiled: another value there, or none, or a member that does not belong. */
export const spoiled = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.tuple(value, fc.nat(1000), garbage, fc.constantFrom("replace", "remove", "add")).map(([whole, n, junk, how]) => {
    const copy = structuredClone({ whole });
    const places = placesIn(copy).slice(1);
    const place = places[n % places.length];
    if (!place) return junk;
    const [holder, key] = place;
    const inner = holder[key];
    if (how === "add" && inner && typeof inner === "object") (inner as Record<string, unknown>)[`x${n}`] = junk;
    else if (how === "remove" && !Array.isArray(holder)) delete holder[key];
    else holder[key] = junk;
    return copy.whole;
  });

type Holder = Record<string, unknown>;

function placesIn(holder: Holder): [Holder, string][] {
  return Object.keys(holder).flatMap((key) => {
    const inner = holder[key];
    const below = inner && typeof inner === "object" ? placesIn(inner as Holder) : [];
    return [[holder, key] as [Holder, string], ...below];
  });
}

/** Bodies that are no JSON, or JSON of the worst kind. */
export const rawBody: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "",
    "{",
    "nul",
    "[1,",
    '{"a":1e400}',
    '{"a":1,"a":2}',
    "\ufeff{}",
    '"\\ud800"',
    '"\\u0000"',
    "{}{}",
    "[".repeat(50_000),
  ),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.json(),
);

/** What HTTP lets a header hold. */
const headerText = fc
  .oneof(fc.string({ maxLength: 60 }), fc.string({ unit: "binary", maxLength: 20 }), fc.constantFrom(...NASTY))
  .map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "").trim());

const jwt = fc
  .tuple(garbage, garbage, fc.string(), fc.constantFrom("none", "HS256", "ES256", "RS256", "EdDSA", "x"), fc.string())
  .map(([header, claims, signature, alg, kid]) => {
    const part = (value: unknown) =>
      btoa(unescape(encodeURIComponent(JSON.stringify(value).toWellFormed()))).replace(/=+$/, "");
    return `${part({ ...(header as object), alg, kid })}.${part(claims)}.${part(signature)}`;
  });

export const strangeCredential = fc.oneof(
  headerText,
  headerText.map((text) => `Bearer ${text}`),
  fc.constantFrom(
    "Bearer",
    "Basic YTpi",
    "bearer x",
    `Bearer parley_live_${"a".repeat(36)}`,
    "Bearer a.b.c",
    "Bearer ..",
    `Bearer ${"a".repeat(9000)}`,
  ),
  jwt.map((text) => `Bearer ${text}`),
);

/** Headers that the API reads, and some it does not. */
export const strangeHeaders: fc.Arbitrary<Record<string, string>> = fc.record(
  {
    "Idempotency-Key": fc.oneof(headerText, fc.constantFrom("one", "two", "three", "x".repeat(256))),
    "Parley-User": fc.oneof(
      headerText,
      fc.nat(99).map((n) => token("user", n)),
      headerText.map((text) => `external:${text}`),
    ),
    "Content-Type": fc.oneof(
      headerText,
      fc.constantFrom(
        "application/json; charset=utf-16",
        "text/json",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
      ),
    ),
    Origin: fc.oneof(headerText, fc.constant("null"), fc.webUrl()),
    Accept: headerText,
    "User-Agent": headerText,
    Range: fc.oneof(
      headerText,
      fc.constantFrom("bytes=0-0", "bytes=-1", "bytes=9-1", "bytes=0-,5-9", `bytes=${"9".repeat(40)}-`),
    ),
    "If-None-Match": headerText,
    "Content-Disposition": fc.oneof(
      headerText,
      fc.constantFrom('attachment; filename="a', "attachment; filename*=utf-8''%ff%00", "attachment; filename*=x"),
    ),
    "Parley-Sha256": headerText,
    "CF-Connecting-IP": fc.oneof(fc.ipV4(), fc.ipV6()),
  },
  { requiredKeys: [] },
);

export type Attempt = {
  /** By its id. */
  operation: string;
  /** With what the operation needs beside its schemas. */
  helped: boolean;
  /** On things made for it, in the state that it needs. */
  prepared: boolean;
  /** Path parameters as they are, not percent-encoded. */
  raw: boolean;
  /** Other than the operation's, now and then. */
  method: string;
  parameters: Record<string, string>;
  strangeQuery: [string, string][];
  body: { json: unknown } | { text: string } | undefined;
  credential: "right" | "user" | "none" | string;
  headers: Record<string, string>;
};

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY"];

/** A request: a third of them valid as far as schemas tell, a third nearly so, the rest anything. */
export function attempts(operations: Operation[], kindFor: (operation: Operation) => Kind): fc.Arbitrary<Attempt> {
  return fc
    .tuple(fc.constantFrom(...operations), fc.constantFrom("valid", "nearly", "garbage"))
    .chain(([operation, mode]) => {
      const kind = kindFor(operation);
      const { body } = operation;
      const goodBody = body ? valid(body, kind) : fc.constant(undefined);
      const asJson = (value: fc.Arbitrary<unknown>) => value.map((json) => (body ? { json } : undefined));
      const bodies = {
        valid: asJson(goodBody),
        nearly: asJson(spoiled(goodBody)),
        garbage: fc.oneof(
          asJson(garbage),
          garbage.map((json) => ({ json })),
          rawBody.map((text) => ({ text })),
          fc.constant(undefined),
        ),
      };
      const rare = <T>(usual: T, strange: fc.Arbitrary<T>, weight: number) =>
        fc.oneof(
          { weight: 20, arbitrary: fc.constant(usual) },
          { weight: mode === "garbage" ? weight : 0, arbitrary: strange },
        );
      return fc.record({
        operation: fc.constant(operation.id),
        helped: fc.boolean(),
        prepared: fc.nat(5).map((n) => n === 5),
        raw: rare(false, fc.constant(true), 2),
        method: rare(operation.method, fc.constantFrom(...METHODS), 2),
        parameters: parameters(operation.parameters, mode, kind),
        strangeQuery: rare<[string, string][]>([], fc.array(fc.tuple(garbageText, garbageText), { maxLength: 3 }), 4),
        body: bodies[mode as keyof typeof bodies],
        credential: rare<string>("right", fc.oneof(fc.constantFrom("user", "none"), strangeCredential), 8),
        headers: rare({}, strangeHeaders, 20),
      });
    });
}

/** Nobody comes upon these by themselves. */
const UNGUESSABLE = ["cursor", "signature", "Parley-Sha256", "Parley-User"];

function parameters(all: Parameter[], mode: string, kind: Kind): fc.Arbitrary<Record<string, string>> {
  const written = (p: Parameter) => valid(p.schema, kind).map(String);
  const value = (p: Parameter) =>
    mode === "valid" ? written(p) : fc.oneof({ weight: mode === "nearly" ? 4 : 1, arbitrary: written(p) }, garbageText);
  const tried = all.filter((p) => mode !== "valid" || !UNGUESSABLE.includes(p.name));
  const record = Object.fromEntries(tried.map((p) => [p.name, value(p)]));
  return fc.record(record, {
    requiredKeys: all.filter((p) => p.required).map((p) => p.name) as never[],
  }) as fc.Arbitrary<Record<string, string>>;
}
