import { askDoor } from "../lib/db";
import { ApiError } from "../lib/errors";
import { feature, op } from "../lib/route";
import { z } from "../lib/validate";
import { sizes } from "./service";

export const operationRoutes = feature();

const operations = { tag: "Operations", method: "get" } as const;

operationRoutes.openapi(
  op({
    ...operations,
    id: "getHealth",
    path: "/health",
    scope: "public",
    summary: "Whether the Worker runs; asks nothing else",
    returns: z.object({ ok: z.literal(true), version: z.string() }),
  }),
  (c) => c.json({ ok: true as const, version: c.env.VERSION }, 200),
);

const Ready = z.object({ database: z.literal("ok"), migrations: z.literal("current"), role: z.literal("safe") });

operationRoutes.openapi(
  op({
    ...operations,
    id: "getReadiness",
    path: "/ready",
    scope: "public",
    summary: "Whether the database answers, is migrated, and is used through a safe role",
    returns: Ready,
  }),
  async (c) => {
    const state = await askDoor<{ release: string; safe: boolean }>(
      c.env,
      `select (select version from parley_release) as release, not (rolsuper or rolbypassrls) and not exists (
           select 1 from pg_tables where schemaname = 'public' and tableowner = session_user) as safe
         from pg_roles where rolname = session_user`,
      [],
    );
    if (!state?.safe)
      throw new ApiError("unavailable", "The Worker's database role could pass the wall between tenants.");
    if (c.env.RELEASE && state.release !== c.env.RELEASE)
      throw new ApiError("unavailable", "The database is not migrated to this release.");
    return c.json({ database: "ok" as const, migrations: "current" as const, role: "safe" as const }, 200);
  },
);

const Size = z.object({ table: z.string(), rows: z.int(), bytes: z.int() });

operationRoutes.openapi(
  op({
    ...operations,
    id: "getSizes",
    path: "/v1/admin/sizes",
    scope: "deployment:admin",
    summary: "Tables with their rows (estimated) and bytes",
    returns: z.object({ data: z.array(Size) }),
  }),
  async (c) => c.json({ data: await sizes(c.var.ctx) }, 200),
);
