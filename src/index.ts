import { WorkerEntrypoint } from "cloudflare:workers";
import { app } from "./app";
import { readRepliesWith } from "./deliveries/replies";
import { registerJob } from "./jobs/registry";
import { lazily, lazyObject } from "./lib/lazy";
import { logFault } from "./lib/log";
import type { Draft, DraftContext, Judgement } from "./webhooks/before-send";
import type { EphemeralEvent } from "./webhooks/ephemeral";

// Start-up evaluates nothing of a feature: a cold isolate pays for what it is asked to do, however many features there are.

export class Channel extends lazyObject(async () => (await import("../durable-objects/channel")).Channel, {
  send: true,
  publish: true,
  end: true,
  online: true,
  shadow: true,
  know: true,
  setPresence: true,
  beginHistory: true,
}) {}
export class User extends lazyObject(async () => (await import("../durable-objects/user")).User, {
  publish: true,
  hint: true,
  end: true,
  sessions: true,
  know: true,
  presence: true,
}) {}
export class Limiter extends lazyObject(async () => (await import("../durable-objects/limiter")).Limiter, {
  lease: true,
  report: true,
}) {}

/** What objects ask of endpoints: in an invocation of its own, as an object has six connections for all it does. */
export class Endpoints extends WorkerEntrypoint<Env> {
  private readonly waitUntil = (work: Promise<unknown>) => this.ctx.waitUntil(work);

  async judge(tenantId: string, about: DraftContext, draft: Draft): Promise<Judgement> {
    const { judgeForTenant } = await import("./webhooks/before-send");
    return judgeForTenant(this.env, tenantId, about, draft, this.waitUntil);
  }

  async tell(tenantId: string, event: EphemeralEvent): Promise<void> {
    const { tellEphemeral } = await import("./webhooks/ephemeral");
    await tellEphemeral(this.env, tenantId, event, this.waitUntil);
  }
}

const rewrap = lazily(async () => {
  const [{ rewrapJob }, { resealSecret }] = await Promise.all([
    import("./integrations/rewrap"),
    import("./webhooks/secrets"),
  ]);
  return rewrapJob({ webhook_secrets: resealSecret });
});

registerJob(
  "retention",
  lazily(async () => (await import("./operations/retention")).applyRetention),
);
registerJob("secrets.rewrap", rewrap);
registerJob(
  "messages.send",
  lazily(async () => {
    const [{ scheduledJob }, { sendScheduledEmail }] = await Promise.all([
      import("./messages/scheduled"),
      import("./email/scheduled"),
    ]);
    return scheduledJob({ outbound: sendScheduledEmail });
  }),
);
registerJob(
  "channels.truncation",
  lazily(async () => (await import("./messages/removal")).truncateForGood),
  { cancellable: false },
);
registerJob(
  "channels.removal",
  lazily(async () => (await import("./messages/removal")).removeChannel),
  { cancellable: false },
);
registerJob(
  "campaign.send",
  lazily(async () => (await import("./campaigns/sending")).sendCampaign),
);
registerJob(
  "messages.reindex",
  lazily(async () => (await import("./messages/reindex")).reindexMessages),
);
registerJob(
  "webhooks.redelivery",
  lazily(async () => (await import("./webhooks/redelivery")).redeliverPage),
);
registerJob(
  "callbacks.replay",
  lazily(async () => (await import("./deliveries/replay")).replayInTime),
  { maxAttempts: 13 },
);
registerJob(
  "exports",
  lazily(async () => (await import("./exports/job")).exportPart),
);
registerJob(
  "email.auto-reply",
  lazily(async () => (await import("./email/auto-reply")).sendAutoReply),
);
registerJob(
  "email.purge",
  lazily(async () => (await import("./email/purge")).purgeRaws),
);
registerJob(
  "domains.check",
  lazily(async () => (await import("./inboxes/checks")).checkDomains),
);
registerJob(
  "tenant.removal",
  lazily(async () => (await import("./tenants/deletion")).removeTenant),
  {
    cancellable: false,
  },
);

readRepliesWith(
  "email",
  lazily(async () => (await import("./email/sandbox-replies")).readSandboxReply),
);

type Consumer = (env: Env, bodies: never[], ctx: ExecutionContext) => Promise<void>;
type Sweep = (env: Env, ctx: ExecutionContext) => Promise<void>;

/** By the queue's name, which an environment may lengthen: parley-webhooks-staging. */
const CONSUMERS: Record<string, Consumer> = {
  "parley-inbound": lazily(async () => (await import("./email/consumer")).readQueued),
  "parley-jobs": lazily(async () => (await import("./jobs/consumer")).runQueuedJobs),
  "parley-outbound": lazily(async () => (await import("./push/consumer")).sendAndNotify),
  "parley-webhooks": lazily(async () => (await import("./webhooks/consumer")).deliverQueued),
};

/** Each minute: what lost messages and crashes left behind. */
const SWEEPS: Sweep[] = [
  lazily(async () => (await import("./jobs/consumer")).runDueJobs),
  lazily(async () => (await import("./webhooks/consumer")).sweepWebhooks),
  lazily(async () => (await import("./deliveries/consumer")).sweepOutbound),
  lazily(async () => (await import("./push/consumer")).sweepPush),
  lazily(async () => (await import("./email/consumer")).sweepInbound),
  lazily(async () => (await import("./files/unused")).removeUnusedFiles),
  lazily(async () => (await import("./live/sweep")).tellLiveSockets),
  lazily(async () => (await import("./messages/removal")).expirePending),
];

export default {
  fetch: app.fetch,

  email: lazily(async () => (await import("./email/smtp")).receiveEmail),

  /** Bodies are hints: what fails here is found again by a sweep, so the queue need not try again. */
  async queue(batch, env, ctx) {
    const consume = Object.entries(CONSUMERS).find(([name]) => batch.queue.startsWith(name))?.[1];
    const bodies = batch.messages.map((message) => message.body as never);
    await consume?.(env, bodies, ctx).catch((error) => logFault(batch.queue, error));
    batch.ackAll();
  },

  async scheduled(_event, env, ctx) {
    const done = await Promise.allSettled(SWEEPS.map((sweep) => sweep(env, ctx)));
    for (const one of done) if (one.status === "rejected") logFault("scheduled", one.reason);
  },
} satisfies ExportedHandler<Env>;
