import { DurableObject } from "cloudflare:workers";
import { ApiError } from "../src/lib/errors";
import type { Lease, LeaseAsk } from "../src/lib/limits";
import type { UsageAnswer, UsageReport } from "../src/lib/usage";
import * as ledger from "./usage-ledger";

const WINDOW_MS = 60_000;
const FLUSH_MS = 60_000;
const SEEN_MS = 10_000;

/**
 * Two kinds of objects, told apart by their names: one per API key or user lends tokens of its rate limits to
 * isolates; one per tenant adds up what isolates report and writes it to the database each minute.
 */
export class Limiter extends DurableObject<Env> {
  private readonly seen = new Map<string, number>();
  private loading: Promise<void> | undefined;

  /** Counts tokens as used when it lends them, so that no crash can exceed the limit. */
  lease(ask: LeaseAsk): Lease {
    const now = Date.now();
    const name = `window/${ask.class}`;
    const { kv } = this.ctx.storage;
    const last = kv.get<{ window: number; lent: number }>(name);
    // A clock that was set back must not open a window again.
    const window = Math.max(Math.floor(now / WINDOW_MS), last?.window ?? 0);
    const returned = ask.unused.window === window ? ask.unused.tokens : 0;
    const before = last?.window === window ? last.lent - returned : 0;
    const free = Math.max(0, ask.perMinute - before);
    const block = Math.max(1, Math.floor(free / (10 * this.isolatesWith(ask.isolate, now))));
    // Never more than was asked for by need: whole blocks to 50 new isolates starve the last of them.
    const tokens = Math.max(0, Math.min(free, Math.max(ask.waiting, Math.min(block, ask.want) - ask.held)));
    if (tokens > 0 || returned > 0) kv.put(name, { window, lent: before + tokens });
    return { window, tokens, block, left: free - tokens, resetMs: (window + 1) * WINDOW_MS - now };
  }

  async report(tenantId: string, report: UsageReport): Promise<UsageAnswer> {
    const { storage } = this.ctx;
    const now = Date.now();
    ledger.record(storage, tenantId, report, now);
    if (ledger.isPending(storage) && (await storage.getAlarm()) === null) await storage.setAlarm(now + FLUSH_MS);
    await this.loadOnce(tenantId);
    const paceMs = Math.min(10_000, Math.max(1_000, 20 * this.isolatesWith(report.isolate, now)));
    return { ...ledger.monthOn(storage, now), paceMs };
  }

  override async alarm(): Promise<void> {
    const { storage } = this.ctx;
    const tenantId = ledger.tenantOf(storage);
    if (!tenantId) return;
    try {
      await this.loadOnce(tenantId);
      await ledger.flush(this.ctx, this.env, tenantId);
    } catch (error) {
      // The tenant was deleted, and its usage with it.
      if (error instanceof ApiError && error.code === "unknown_credential") return storage.deleteAll();
      console.error(
        JSON.stringify({ level: "error", message: "usage was not written", tenantId, error: String(error) }),
      );
    }
    if (ledger.isPending(storage)) await storage.setAlarm(Date.now() + FLUSH_MS);
  }

  private async loadOnce(tenantId: string): Promise<void> {
    if (ledger.isLoaded(this.ctx.storage)) return;
    this.loading ??= ledger.load(this.ctx, this.env, tenantId).finally(() => {
      this.loading = undefined;
    });
    await this.loading;
  }

  /** How many isolates asked lately, this one included; a map iterates in the order of its insertions. */
  private isolatesWith(isolate: string, now: number): number {
    this.seen.delete(isolate);
    this.seen.set(isolate, now);
    for (const [old, at] of this.seen) {
      if (at > now - SEEN_MS) break;
      this.seen.delete(old);
    }
    return this.seen.size;
  }
}
