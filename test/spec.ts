import { type OutputUnit, Validator } from "@cfworker/json-schema";
import * as fc from "fast-check";
import { ERRORS, isErrorCode } from "../src/lib/errors";
import { type Answer, type Any, client } from "./helpers";

export type Schema = {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  default?: unknown;
  "x-resource"?: string;
};

export type Parameter = { in: "path" | "query" | "header"; name: string; required: boolean; schema: Schema };

export type Operation = {
  id: string;
  method: string;
  path: string;
  scope: string;
  /** Takes an Idempotency-Key. */
  once: boolean;
  parameters: Parameter[];
  /** Of a JSON body. */
  body: Schema | undefined;
  /** The media type of a body that is no JSON. */
  bytes: string | undefined;
  /** By status; what a media type holds, or nothing for an answer without a body. */
  answers: Record<string, { media: string; schema: Schema } | undefined>;
};

/** The OpenAPI document as the Worker hands it out, with every reference resolved. */
export async function readOperations(): Promise<Operation[]> {
  const document = (await client(null).get("/openapi.json")).body;
  return Object.entries<Any>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Any>(methods).map(([method, operation]) => ({
      id: operation.operationId,
      method: method.toUpperCase(),
      path,
      scope: operation["x-scope"],
      once: operation["x-once"] === true,
      parameters: (operation.parameters ?? []).map((parameter: Any) => ({
        required: false,
        ...resolved(parameter, document),
      })),
      body: resolved(operation.requestBody?.content["application/json"]?.schema, document),
      bytes: Object.keys(operation.requestBody?.content ?? {}).find((media) => media !== "application/json"),
      answers: Object.fromEntries(
        Object.entries<Any>(operation.responses).map(([status, answer]) => [status, contentOf(answer, document)]),
      ),
    })),
  );
}

function contentOf(answer: Any, document: Any): Operation["answers"][string] {
  const [entry] = Object.entries<Any>(answer.content ?? {});
  return entry && { media: entry[0], schema: resolved(entry[1].schema, document) };
}

/** Without `$ref` and `allOf`: one schema says all of a value. */
function resolved(node: Any, document: Any): Any {
  if (Array.isArray(node)) return node.map((item) => resolved(item, document));
  if (node === null || typeof node !== "object") return node;
  if (node.$ref) {
    const target = node.$ref
      .slice(2)
      .split("/")
      .reduce((at: Any, step: string) => at[step], document);
    return resolved(target, document);
  }
  const { allOf, ...rest } = Object.fromEntries(
    Object.entries(node).map(([name, value]) => [name, resolved(value, document)]),
  ) as Any;
  if (!allOf) return rest;
  const parts = [...allOf, rest];
  const properties = Object.assign({}, ...parts.map((part: Any) => part.properties));
  const required = parts.flatMap((part: Any) => part.required ?? []);
  return Object.assign({}, ...parts, { properties, required });
}

/** A place of a request that takes the id of a resource. */
export type Position = { where: "path" | "query" | "body"; at: string[]; resource: string };

export function positionsOf({ parameters, body }: Operation): Position[] {
  return [
    ...parameters.flatMap((p) =>
      p.in === "header" ? [] : marked(p.schema, [p.name]).map((mark) => ({ where: p.in as "path" | "query", ...mark })),
    ),
    ...(body ? marked(body, []).map((mark) => ({ where: "body" as const, ...mark })) : []),
  ];
}

function marked(schema: Schema, at: string[]): { at: string[]; resource: string }[] {
  return [
    ...(schema["x-resource"] ? [{ at, resource: schema["x-resource"] }] : []),
    ...children(schema).flatMap(([step, child]) => marked(child, [...at, step])),
  ];
}

/** The schemas inside, each with the step that leads there: a member, an item, or `*` for members of any name. */
function children(schema: Schema): [string, Schema][] {
  const { properties = {}, items, anyOf = [], additionalProperties } = schema;
  return [
    ...Object.entries(properties),
    ...(items ? [["0", items] as [string, Schema]] : []),
    ...(typeof additionalProperties === "object" ? [["*", additionalProperties] as [string, Schema]] : []),
    ...anyOf.flatMap(children),
  ];
}

/** Places that look as if they took an id but say not of what. */
export function unmarkedIds({ parameters, body }: Operation): string[] {
  const looks = (name: string, { format, "x-resource": resource }: Schema) =>
    resource === undefined && (format === "uuid" || /(^id|I[dD]s?)$/.test(name));
  const within = (schema: Schema, at: string, name: string): string[] => [
    ...(looks(name, schema) && !schema.items?.["x-resource"] ? [at] : []),
    ...children(schema).flatMap(([step, child]) => within(child, `${at}.${step}`, step)),
  ];
  return [
    ...parameters.flatMap((p) => within(p.schema, `${p.in}.${p.name}`, p.name)),
    ...(body ? within(body, "body", "") : []),
  ];
}

type Fill = (resource: string, at: string[]) => string;

/** The least that the schema accepts, and whatever leads to `want`. */
export function sample(schema: Schema, fill: Fill, want: string[] = [], at: string[] = []): unknown {
  if (schema["x-resource"]) return fill(schema["x-resource"], at);
  if (schema.anyOf) return sample(schema.anyOf[0]!, fill, want, at);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const [step, ...further] = want;
  const inside = (name: string, child: Schema) => sample(child, fill, name === step ? further : [], [...at, name]);
  switch ([schema.type].flat()[0]) {
    case "object": {
      const names = new Set([...(schema.required ?? []), ...(step !== undefined ? [step] : [])]);
      return Object.fromEntries(
        children(schema).flatMap(([name, child]) => (names.has(name) ? [[name, inside(name, child)]] : [])),
      );
    }
    case "array": {
      const count = Math.max(schema.minItems ?? 0, step !== undefined ? 1 : 0);
      return Array.from({ length: count }, () => inside("0", schema.items ?? {}));
    }
    case "integer":
    case "number":
      return schema.minimum ?? 1;
    case "boolean":
      return true;
    case "string":
      return sampleText(schema);
    default:
      return {};
  }
}

const FORMATS: Record<string, () => string> = {
  uuid: () => crypto.randomUUID(),
  "date-time": () => new Date().toISOString(),
  date: () => new Date().toISOString().slice(0, 10),
  email: () => `${crypto.randomUUID()}@example.org`,
  uri: () => "https://example.org/path",
  ipv4: () => "203.0.113.7",
  ipv6: () => "2001:db8::7",
};

export function sampleText({ format, pattern, minLength = 0, maxLength = 100 }: Schema): string {
  if (format && FORMATS[format]) return FORMATS[format]();
  if (pattern)
    return fc.sample(
      fc.stringMatching(new RegExp(pattern)).filter((text) => text.length <= maxLength),
      1,
    )[0]!;
  return `sample ${crypto.randomUUID()}`.slice(0, maxLength).padEnd(minLength, ".");
}

export type Call = { method: string; path: string; body?: unknown; headers?: Record<string, string> };
/** What must stand in a call for it to make sense, beside what its schemas demand. */
export type Given = { parameters?: Record<string, string>; body?: Record<string, unknown> };

/** A call of the operation with just what it needs, and the position that is wanted. */
export function sampleCall(operation: Operation, fill: Fill, want?: Position, given: Given = {}): Call {
  const { method, path, parameters, body, bytes } = operation;
  const wants = ({ in: where, name }: Parameter) => want?.where === where && want.at[0] === name;
  const value = (p: Parameter) =>
    given.parameters?.[p.name] ?? sample(p.schema, fill, wants(p) ? want!.at.slice(1) : [], [p.name]);
  const filled = parameters
    .filter((p) => p.in === "path")
    .reduce((text, p) => text.replace(`{${p.name}}`, encodeURIComponent(String(value(p)))), path);
  const query = new URLSearchParams();
  for (const p of parameters) {
    if (p.in !== "query" || !(p.required || wants(p) || given.parameters?.[p.name])) continue;
    for (const one of [value(p)].flat()) query.append(p.name, String(one));
  }
  return {
    method,
    path: query.size > 0 ? `${filled}?${query}` : filled,
    ...(body && {
      body: { ...(sample(body, fill, want?.where === "body" ? want.at : []) as object), ...given.body },
    }),
    ...(bytes && { body: "some bytes", headers: { "Content-Type": "text/plain" } }),
  };
}

const validators = new Map<string, Validator>();

/** What is wrong with a refusal: every one of them looks the same, whoever answers. */
export function problemFaults({ status, body, headers }: Answer<Any>): string[] {
  const code: unknown = body?.code;
  const [known, title] = isErrorCode(code) ? ERRORS[code] : [];
  return [
    ...(headers.get("Content-Type") === "application/problem+json"
      ? []
      : [`a problem as ${headers.get("Content-Type")}`]),
    ...(known === status && body.status === status && body.title === title ? [] : [`${status} with code ${code}`]),
    ...(typeof body?.requestId === "string" && typeof body.detail === "string"
      ? []
      : ["a problem without its members"]),
  ];
}

/** What is wrong with an answer: another status, type or shape than declared. */
export function faultsOf(operation: Operation, answer: Answer<Any>): string[] {
  const { status, body } = answer;
  const refused = status >= 400;
  const misshapen = refused ? problemFaults(answer) : [];
  if (misshapen.length > 0) return misshapen;
  const declared = operation.answers[refused ? "default" : status];
  if (!declared) {
    if (!(status in operation.answers)) return [`${status} is not declared`];
    return body === "" ? [] : [`${status} has a body, which is not declared`];
  }
  // A file has a type of its own.
  if (declared.media === "application/octet-stream") return [];
  const media = answer.headers.get("Content-Type")?.split(";")[0] ?? "";
  if (media !== declared.media) return [`${media} in place of ${declared.media}`];
  if (!/\bjson$/.test(media)) return [];
  const name = `${operation.id} ${refused ? "default" : status}`;
  const schema = refused ? declared.schema : closed(declared.schema);
  const validator = validators.get(name) ?? new Validator(schema as Any, "2020-12", false);
  validators.set(name, validator);
  return validator
    .validate(body)
    .errors.map(({ instanceLocation, error }: OutputUnit) => `${instanceLocation}: ${error}`);
}

/** A member that is not declared was not meant to be shown. */
function closed(schema: Schema): Schema {
  const { properties, items, anyOf, additionalProperties } = schema;
  return {
    ...schema,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, child]) => [name, closed(child)])),
      additionalProperties: additionalProperties ?? false,
    }),
    ...(items && { items: closed(items) }),
    ...(anyOf && { anyOf: anyOf.map(closed) }),
  };
}
