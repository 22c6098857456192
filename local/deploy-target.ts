import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "smol-toml";
import type { Unstable_RawConfig } from "wrangler";
import { plain } from "./fail.ts";
import { ROOT } from "./place.ts";

/** What one deployment is called at Cloudflare, by wrangler.toml. */
export type Target = { worker: string; queues: string[]; buckets: string[]; config: string };

type Names = { queue?: string; dead_letter_queue?: string; bucket_name?: string };

/** An environment is the same Worker with the same bindings, every name of it ending in the environment's. */
export function readTarget(env?: string): Target {
  if (env !== undefined && !/^[a-z0-9]{1,20}$/.test(env)) throw plain("--env takes small letters and digits.");
  const file = `${ROOT}/wrangler.toml`;
  // As wrangler itself reads it, without waiting seconds for all of wrangler.
  const rawConfig = parse(readFileSync(file, "utf8")) as Unstable_RawConfig;
  if (env === undefined) return targetOf(rawConfig, file);
  const renamed = rename(rawConfig, env);
  const folder = `${ROOT}/dist/deploy`;
  const config = `${folder}/wrangler.${env}.json`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(config, JSON.stringify(renamed, null, 2));
  return targetOf(renamed, config);
}

function targetOf({ name, queues, r2_buckets }: Unstable_RawConfig, config: string): Target {
  const named = [...(queues?.producers ?? []), ...(queues?.consumers ?? [])] as Names[];
  return {
    worker: name!,
    queues: unique(named.flatMap(({ queue, dead_letter_queue }) => [queue, dead_letter_queue])),
    buckets: unique((r2_buckets ?? []).map(({ bucket_name }) => bucket_name)),
    config,
  };
}

const unique = (names: (string | undefined)[]) => [...new Set(names)].filter((name) => name !== undefined);

/** Domains and addresses stay with the deployment that wrangler.toml describes. */
function rename(config: Unstable_RawConfig, env: string): Unstable_RawConfig {
  const { route, routes, addresses, ...rest } = config as Unstable_RawConfig & { addresses?: unknown };
  const called = <T extends Names>(binding: T): T => {
    const copy = { ...binding };
    for (const key of ["queue", "dead_letter_queue", "bucket_name"] as const)
      if (copy[key] !== undefined) copy[key] = `${copy[key]}-${env}`;
    return copy;
  };
  const { queues, r2_buckets, assets } = rest;
  return {
    ...rest,
    name: `${rest.name}-${env}`,
    main: resolve(ROOT, rest.main!),
    ...(assets && { assets: { ...assets, directory: resolve(ROOT, assets.directory!) } }),
    ...(queues && {
      queues: {
        ...queues,
        ...(queues.producers && { producers: queues.producers.map(called) }),
        ...(queues.consumers && { consumers: queues.consumers.map(called) }),
      },
    }),
    ...(r2_buckets && { r2_buckets: r2_buckets.map((bucket) => called(bucket as Names & typeof bucket)) }),
  };
}
