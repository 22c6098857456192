import { z } from "../lib/validate";
import { CATALOGUE, type EventKind, type EventType, type StreamKind } from "./catalogue";

type Schema = {
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  type?: string;
  format?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
};

/** Data as an event of this type has it, made from its schema; and a stream for it to be in. Ids of one name are one id. */
export function sampleEvent(type: EventType, tenantId: string) {
  const kind: EventKind = CATALOGUE[type];
  const ids = new Map<string, string>([["tenantId", tenantId]]);
  const idOf = (name: string): string => {
    if (!ids.has(name)) ids.set(name, crypto.randomUUID());
    return ids.get(name)!;
  };
  const data = sample(z.toJSONSchema(kind.data, { unrepresentable: "any", io: "input" }) as Schema, "", idOf);
  const stream: { kind: StreamKind; id: string } = { kind: kind.stream, id: idOf(`${kind.stream}Id`) };
  return { data, stream, durable: kind.durable };
}

function sample(schema: Schema, name: string, idOf: (name: string) => string): unknown {
  if ("const" in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return sample(schema.anyOf[0]!, name, idOf);
  switch (schema.type) {
    case "object":
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([key, one]) => [
          key,
          sample(one, key === "id" ? `${name}Id` : key, idOf),
        ]),
      );
    case "array":
      return schema.items ? [sample(schema.items, name, idOf)] : [];
    case "string":
      if (schema.format === "uuid") return idOf(name);
      return name.endsWith("At") ? new Date().toISOString() : name;
    case "integer":
    case "number":
      return 1;
    case "boolean":
      return false;
    default:
      return null;
  }
}
