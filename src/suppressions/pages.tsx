import type { Context as HonoContext } from "hono";
import { asSystem } from "../auth/system";
import { recordReceipts } from "../deliveries/receipts";
import type { Context } from "../lib/context";
import { ApiError } from "../lib/errors";
import { takeToken } from "../lib/limits";
import { Page, signedPages } from "../lib/pages";
import type { AppEnv } from "../lib/route";
import { isUnsubscribed, resubscribe, unsubscribe } from "./opt-out";
import { readUnsubscription, type Unsubscription } from "./unsubscribe";

/** Where the link of a mail leads. Works without scripts and without a login; looking at it changes nothing. */
export const unsubscribePages = signedPages("/unsubscribe/*");

/** Of one address: enough for anybody's clicks, too few to be a nuisance. */
const PER_MINUTE = 60;

async function opened<T>(
  c: HonoContext<AppEnv>,
  run: (ctx: Context, about: Unsubscription) => Promise<T>,
): Promise<T & { about: Unsubscription; base: string }> {
  const token = c.req.param("token") ?? "";
  const about = await readUnsubscription(c.env, token);
  if (!about) throw new ApiError("not_found", "This link is not whole. Copy all of it from the mail.");
  const waitUntil = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
  const { allowed } = await takeToken(c.env, waitUntil, {
    limiter: `${about.tenantId}/unsubscribe/${about.address}`,
    class: "default",
    perMinute: PER_MINUTE,
  });
  if (!allowed) throw new ApiError("rate_limited");
  const result = await asSystem(c.env, about.tenantId, waitUntil, (ctx) => run(ctx, about));
  return { ...result, about, base: `/unsubscribe/${token}` };
}

unsubscribePages.get("/unsubscribe/:token", async (c) => {
  const { done, about, base } = await opened(c, async (ctx, about) => ({ done: await isUnsubscribed(ctx, about) }));
  return c.html(done ? <Done about={about} base={base} /> : <Ask about={about} base={base} />);
});

/** From the page's button, and, with `List-Unsubscribe=One-Click`, from a mail program. Whoever sends this means it. */
unsubscribePages.post("/unsubscribe/:token", async (c) => {
  const { about, base } = await opened(c, async (ctx, about) => {
    const { deliveryId } = about;
    const eventId = `unsubscribe ${deliveryId}`;
    // First, for the receipt suppresses as well, and keeps no log of who did it.
    await unsubscribe(ctx, about);
    await recordReceipts(ctx, null, [{ deliveryId, eventId, status: "unsubscribed", details: { by: "link" } }]);
    return {};
  });
  return c.html(<Done about={about} base={base} />);
});

unsubscribePages.post("/unsubscribe/:token/undo", async (c) => {
  const { about, base } = await opened(c, async (ctx, about) => {
    await resubscribe(ctx, about);
    return {};
  });
  return c.html(<Undone about={about} base={base} />);
});

type Shown = { about: Unsubscription; base: string };

const Ask = ({ about: { address, stream }, base }: Shown) => (
  <Page title="Unsubscribe">
    <h1>Unsubscribe?</h1>
    <p>
      <strong>{address}</strong> will get no more mails of the kind <strong>{stream}</strong> from this sender.
    </p>
    <form method="post" action={base}>
      <button type="submit">Unsubscribe</button>
    </form>
  </Page>
);

const Done = ({ about: { address, stream }, base }: Shown) => (
  <Page title="Unsubscribed">
    <h1>You are unsubscribed</h1>
    <p role="status">
      <strong>{address}</strong> gets no more mails of the kind <strong>{stream}</strong> from this sender.
    </p>
    <form method="post" action={`${base}/undo`}>
      <p>Was it a mistake?</p>
      <button type="submit">Undo</button>
    </form>
  </Page>
);

const Undone = ({ about: { address, stream }, base }: Shown) => (
  <Page title="Subscribed again">
    <h1>You are subscribed again</h1>
    <p role="status">
      <strong>{address}</strong> gets mails of the kind <strong>{stream}</strong> as before.
    </p>
    <form method="post" action={base}>
      <button type="submit">Unsubscribe</button>
    </form>
  </Page>
);
