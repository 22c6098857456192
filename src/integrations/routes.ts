import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Moment, pathId, text, z } from "../lib/validate";
import { PROVIDER_MEDIA, type Provider } from "../providers/provider";
import { PROVIDERS, providerNamed } from "../providers/registry";
import { INTEGRATION_STATUSES } from "./schema";
import {
  checkIntegration,
  createIntegration,
  deleteIntegration,
  getIntegration,
  type IntegrationInput,
  type IntegrationPatch as IntegrationPatchInput,
  listIntegrations,
  updateIntegration,
} from "./service";

export const integrationRoutes = feature();

const NAMES = PROVIDERS.map(({ name }) => name) as [string, ...string[]];

const Integration = z
  .object({
    id: z.uuid(),
    name: z.string(),
    medium: z.string(),
    provider: z.string(),
    config: z.record(z.string(), z.unknown()),
    status: z.enum(INTEGRATION_STATUSES),
    checkedAt: Moment.nullable(),
    error: z.string().nullable().openapi({ description: "Why it is failing" }),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Integration");

const writeOnly = { description: "Kept encrypted, and never shown" };

type Formed = Pick<Provider<z.ZodObject, z.ZodObject>, "name" | "media" | "config" | "credentials">;
type Forms = [z.ZodObject<{ provider: z.ZodLiteral<string> }>];

/** Each provider says what its accounts are made of. */
const forms = (PROVIDERS as unknown as readonly Formed[]).map(({ name, media, config, credentials }) =>
  z.strictObject({
    provider: z.literal(name),
    name: text(255, 1),
    medium: z.enum(media),
    config: config.prefault({}),
    credentials: credentials.prefault({}).openapi(writeOnly),
  }),
) as unknown as Forms;
const NewIntegration = (forms.length === 1 ? forms[0] : z.discriminatedUnion("provider", forms)).openapi(
  "NewIntegration",
) as unknown as z.ZodType<IntegrationInput>;

const Fields = z.record(text(255, 1), z.unknown());

const IntegrationPatch = z
  .strictObject({
    name: text(255, 1).optional(),
    enabled: z.boolean().optional(),
    provider: z
      .enum(NAMES)
      .optional()
      .openapi({ description: "The provider it has. Needed with config and credentials, which are read by its rules" }),
    config: Fields.optional(),
    credentials: Fields.optional().openapi(writeOnly),
  })
  .transform((patch, context) => {
    const read: Pick<IntegrationPatchInput, "config" | "credentials"> = {};
    for (const part of ["config", "credentials"] as const) {
      if (patch[part] === undefined) continue;
      if (patch.provider === undefined) {
        context.addIssue({ code: "custom", path: ["provider"], message: `Name it beside ${part}.` });
        return z.NEVER;
      }
      const result = providerNamed(patch.provider)[part].safeParse(patch[part]);
      if (result.success) read[part] = result.data as Record<string, unknown>;
      else
        context.issues.push(
          ...result.error.issues.map((issue) => ({ ...issue, input: patch, path: [part, ...issue.path] }) as never),
        );
    }
    return { ...patch, ...read };
  });

const integrationsAt = { tag: "Integrations", path: "/integrations" } as const;
const integrationAt = { tag: "Integrations", path: "/integrations/{id}", params: pathId("integration") } as const;

integrationRoutes.openapi(
  op({
    ...integrationsAt,
    id: "createIntegration",
    method: "post",
    scope: "integrations:write",
    summary: "Add a provider's account",
    description: "Without any for a medium, what is sent by it goes to the sandbox.",
    body: NewIntegration,
    returns: Integration,
    status: 201,
  }),
  async (c) => c.json(await createIntegration(c.var.ctx, c.req.valid("json")), 201),
);
const IntegrationQuery = z.strictObject({
  ...PageQuery,
  medium: z.enum(PROVIDER_MEDIA).optional(),
  provider: z.enum(NAMES).optional(),
  status: z.enum(INTEGRATION_STATUSES).optional(),
});
integrationRoutes.openapi(
  op({
    ...integrationsAt,
    id: "listIntegrations",
    method: "get",
    scope: "integrations:read",
    summary: "List integrations",
    query: IntegrationQuery,
    returns: listOf(Integration),
  }),
  async (c) => c.json(await listIntegrations(c.var.ctx, c.req.valid("query")), 200),
);
integrationRoutes.openapi(
  op({
    ...integrationAt,
    id: "getIntegration",
    method: "get",
    scope: "integrations:read",
    summary: "Get an integration",
    returns: Integration,
  }),
  async (c) => c.json(await getIntegration(c.var.ctx, c.req.valid("param").id), 200),
);
integrationRoutes.openapi(
  op({
    ...integrationAt,
    id: "updateIntegration",
    method: "patch",
    scope: "integrations:write",
    summary: "Change, enable or disable an integration",
    body: IntegrationPatch,
    returns: Integration,
  }),
  async (c) => c.json(await updateIntegration(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
integrationRoutes.openapi(
  op({
    ...integrationAt,
    id: "deleteIntegration",
    method: "delete",
    scope: "integrations:write",
    summary: "Delete an integration that nothing waits for",
    status: 204,
  }),
  async (c) => {
    await deleteIntegration(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
integrationRoutes.openapi(
  op({
    ...integrationAt,
    id: "checkIntegration",
    method: "post",
    path: "/integrations/{id}/check",
    scope: "integrations:write",
    summary: "Ask the provider whether the account works",
    description:
      "The integration's status is failing afterwards when it does not, active when it does, and stays disabled.",
    returns: Integration,
    once: false,
  }),
  async (c) => c.json(await checkIntegration(c.var.ctx, c.req.valid("param").id), 200),
);
