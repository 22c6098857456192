import type { Documented } from "../lib/openapi";
import { z } from "../lib/validate";
import { CATALOGUE, type EventKind } from "./catalogue";

const headers = z.object({
  "webhook-id": z.string().openapi({ description: "The event's id, the same for each attempt" }),
  "webhook-timestamp": z.string().openapi({ description: "Seconds since 1970 at this attempt" }),
  "webhook-signature": z.string().openapi({
    description:
      "v1 and the base64 HMAC-SHA256 of id.timestamp.body, once for each live secret; v1a and its Ed25519 signature where the endpoint has a signing key",
  }),
});

/** OpenAPI's `webhooks`, from the catalogue. */
export function documentEvents(app: Documented): void {
  for (const [type, kind] of Object.entries(CATALOGUE as Record<string, EventKind>)) {
    const body = z.object({
      id: z.uuid(),
      type: z.literal(type),
      timestamp: z.string().openapi({ format: "date-time" }),
      stream: z.object({ kind: z.enum(kind.alsoIn ? [kind.stream, kind.alsoIn] : [kind.stream]), id: z.uuid() }),
      ...(kind.durable && {
        seq: z.int().openapi({ description: "Without gaps in its stream: a missing number is a missing event" }),
      }),
      data: kind.data,
    });
    app.openAPIRegistry.registerWebhook({
      method: "post",
      path: type,
      operationId: `on ${type}`.replace(/[ .](\w)/g, (_, letter: string) => letter.toUpperCase()),
      summary: kind.description,
      tags: [`${kind.category} events`],
      security: [],
      request: { headers, body: { content: { "application/json": { schema: body } }, required: true } },
      responses: { 200: { description: "Received. Any 2xx will do." }, 410: { description: "Disable this endpoint." } },
    });
  }
}
