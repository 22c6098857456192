import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Instant, idOf, Moment, pathId, text, z } from "../lib/validate";
import { PLACEHOLDERS } from "./notices";
import { NOTICE_KINDS, PUSH_LEVELS } from "./schema";
import { listPreferences, listTemplates, putTemplate, resetTemplate, setPreference } from "./service";

export const pushRoutes = feature();

const Preference = z
  .object({
    id: z.uuid(),
    channelId: z.uuid().nullable().openapi({ description: "Null: wherever there is none for the channel" }),
    level: z.enum(PUSH_LEVELS),
    snoozedUntil: Moment.nullable(),
    updatedAt: Moment,
  })
  .openapi("PushPreference");
const preferences = { tag: "Push", path: "/users/{id}/push-preferences", params: pathId("user") } as const;

pushRoutes.openapi(
  op({
    ...preferences,
    id: "listPushPreferences",
    method: "get",
    scope: "me:read",
    summary: "List what a user wants to be notified of",
    query: z.strictObject(PageQuery),
    returns: listOf(Preference),
  }),
  async (c) => c.json(await listPreferences(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
pushRoutes.openapi(
  op({
    ...preferences,
    id: "setPushPreference",
    method: "put",
    scope: "me:write",
    summary: "Say what a user wants to be notified of, in one channel or everywhere else",
    body: z.strictObject({
      channelId: idOf("channel").nullable().optional(),
      level: z.enum(PUSH_LEVELS).nullable().openapi({ description: "Null: as everywhere else again" }),
      snoozedUntil: Instant.nullable().optional(),
    }),
    status: 204,
  }),
  async (c) => {
    await setPreference(c.var.ctx, c.req.valid("param").id, c.req.valid("json"));
    return c.body(null, 204);
  },
);

const UNKNOWN = new RegExp(`\\{\\{(?!(?:${PLACEHOLDERS.join("|")})\\}\\})`);
const wording = (max: number) =>
  text(max, 1)
    .refine((value) => !UNKNOWN.test(value), `The placeholders are ${PLACEHOLDERS.map((p) => `{{${p}}}`).join(", ")}.`)
    .openapi({
      description: `With ${PLACEHOLDERS.map((p) => `{{${p}}}`).join(", ")}`,
      example: "{{sender}}: {{text}}",
    });
const Template = z
  .object({ kind: z.enum(NOTICE_KINDS), title: z.string(), body: z.string(), isDefault: z.boolean() })
  .openapi("PushTemplate");
const templates = { tag: "Push", path: "/push-templates" } as const;
const template = {
  ...templates,
  path: "/push-templates/{kind}",
  params: z.strictObject({ kind: z.enum(NOTICE_KINDS) }),
} as const;

pushRoutes.openapi(
  op({
    ...templates,
    id: "listPushTemplates",
    method: "get",
    scope: "integrations:read",
    summary: "List the words of notifications",
    returns: z.object({ data: z.array(Template) }),
  }),
  async (c) => c.json({ data: await listTemplates(c.var.ctx) }, 200),
);
pushRoutes.openapi(
  op({
    ...template,
    id: "putPushTemplate",
    method: "put",
    scope: "integrations:write",
    summary: "Give notifications words of your own",
    body: z.strictObject({ title: wording(255), body: wording(1_000) }),
    status: 204,
  }),
  async (c) => {
    await putTemplate(c.var.ctx, c.req.valid("param").kind, c.req.valid("json"));
    return c.body(null, 204);
  },
);
pushRoutes.openapi(
  op({
    ...template,
    id: "resetPushTemplate",
    method: "delete",
    scope: "integrations:write",
    summary: "Give notifications their usual words again",
    status: 204,
  }),
  async (c) => {
    await resetTemplate(c.var.ctx, c.req.valid("param").kind);
    return c.body(null, 204);
  },
);
