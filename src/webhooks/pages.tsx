import type { Context as HonoContext } from "hono";
import { asSystem } from "../auth/system";
import type { Context } from "../lib/context";
import { ApiError } from "../lib/errors";
import { takeToken } from "../lib/limits";
import { signedPages } from "../lib/pages";
import type { AppEnv } from "../lib/route";
import { listEventTypes } from "./event-types";
import { rotateSecret } from "./keys";
import { getDelivery, listAttempts, listDeliveries, redeliver } from "./log";
import { type PortalEdit, type PortalPass, readPortalPass } from "./portal";
import { Deliveries, NewSecret, OneDelivery, Settings } from "./portal-views";
import { DELIVERY_STATUSES } from "./schema";
import { getWebhook, updateWebhook } from "./service";

/** What a tenant's own customer sees of one endpoint. Works without scripts; there are none. */
export const portalPages = signedPages("/portal/*");

const PER_MINUTE = 120;

/** Runs as the tenant, for the endpoint that the link names and no other. */
async function opened<T>(c: HonoContext<AppEnv>, run: (ctx: Context, pass: PortalPass) => Promise<T>): Promise<T> {
  const pass = await readPortalPass(c.env, c.req.param("token") ?? "");
  const waitUntil = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
  const { allowed } = await takeToken(c.env, waitUntil, {
    limiter: `${pass.tenantId}/portal/${pass.webhookId}`,
    class: "default",
    perMinute: PER_MINUTE,
  });
  if (!allowed) throw new ApiError("rate_limited");
  return asSystem(c.env, pass.tenantId, waitUntil, (ctx) => run(ctx, pass));
}

async function ownDelivery(ctx: Context, pass: PortalPass, id: string) {
  const delivery = await getDelivery(ctx, id);
  if (delivery.webhookId !== pass.webhookId) throw new ApiError("not_found");
  return delivery;
}

const base = (c: HonoContext<AppEnv>) => `/portal/${c.req.param("token")}`;
const UUID = "[0-9a-f-]{36}";

portalPages.get("/portal/:token", async (c) => {
  const { status = "", type = "", cursor } = c.req.query();
  const known = (DELIVERY_STATUSES as readonly string[]).includes(status) ? status : undefined;
  const { hook, listed, allow } = await opened(c, async (ctx, { webhookId, allow }) => ({
    allow,
    hook: await getWebhook(ctx, webhookId),
    listed: await listDeliveries(ctx, {
      webhookId,
      status: known,
      type: type || undefined,
      limit: 25,
      ...(cursor && { cursor }),
    }),
  }));
  return c.html(
    <Deliveries
      hook={hook}
      rows={listed.data}
      next={listed.nextCursor}
      base={base(c)}
      status={known ?? ""}
      type={type}
      editable={allow.length > 0}
    />,
  );
});

portalPages.get(`/portal/:token/deliveries/:id{${UUID}}`, async (c) => {
  const { delivery, attempts } = await opened(c, async (ctx, pass) => {
    const one = await ownDelivery(ctx, pass, c.req.param("id"));
    return { delivery: one, attempts: (await listAttempts(ctx, { deliveryId: one.id, limit: 50 })).data };
  });
  return c.html(<OneDelivery delivery={delivery} attempts={attempts} base={base(c)} />);
});

portalPages.post(`/portal/:token/deliveries/:id{${UUID}}/redeliver`, async (c) => {
  await opened(c, async (ctx, pass) => redeliver(ctx, (await ownDelivery(ctx, pass, c.req.param("id"))).id));
  return c.redirect(`${base(c)}/deliveries/${c.req.param("id")}`, 303);
});

const mustAllow = ({ allow }: PortalPass, ...edits: PortalEdit[]) => {
  if (!edits.some((edit) => allow.includes(edit))) throw new ApiError("not_found");
};

async function settingsOf(ctx: Context, pass: PortalPass) {
  const hook = await getWebhook(ctx, pass.webhookId);
  const types = pass.allow.includes("events") ? await listEventTypes(ctx, {}) : [];
  // A deprecated type stays with whoever has it.
  const offered = types.filter(({ active, name }) => active || hook.events.includes(name));
  return { hook, allow: pass.allow, choices: Map.groupBy(offered, ({ category }) => category) };
}

portalPages.get("/portal/:token/settings", async (c) => {
  const settings = await opened(c, async (ctx, pass) => {
    mustAllow(pass, "url", "events", "secret");
    return settingsOf(ctx, pass);
  });
  return c.html(<Settings {...settings} base={base(c)} />);
});

const OVERLAP_SECONDS = 86_400;
const FORM_MOST = 100;

portalPages.post("/portal/:token/settings", async (c) => {
  const form = await c.req.formData();
  const url = String(form.get("url") ?? "").trim();
  const events = form.getAll("events").map(String).slice(0, FORM_MOST);
  const refused = await opened(c, async (ctx, pass) => {
    mustAllow(pass, "url", "events");
    const wish = {
      ...(pass.allow.includes("url") && { url }),
      ...(pass.allow.includes("events") && { events }),
    };
    if (wish.events?.length === 0) return { ...(await settingsOf(ctx, pass)), fault: "Choose at least one event." };
    try {
      await updateWebhook(ctx, pass.webhookId, wish);
      return null;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "invalid_request") throw error;
      const { errors = [] } = error.facts as { errors?: { message: string }[] };
      return { ...(await settingsOf(ctx, pass)), fault: errors.map(({ message }) => message).join(" ") };
    }
  });
  if (refused) return c.html(<Settings {...refused} base={base(c)} url={url || refused.hook.url} />, 422);
  return c.redirect(`${base(c)}/settings`, 303);
});

portalPages.post("/portal/:token/secret", async (c) => {
  const made = await opened(c, async (ctx, pass) => {
    mustAllow(pass, "secret");
    // First, as the settings at hand are out of date once the secret is another.
    const hook = await getWebhook(ctx, pass.webhookId);
    return { hook, secret: (await rotateSecret(ctx, pass.webhookId, OVERLAP_SECONDS)).secret };
  });
  return c.html(<NewSecret {...made} base={base(c)} />);
});
