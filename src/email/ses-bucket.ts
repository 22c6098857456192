import { and, eq, ne, sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { openAccount, selectStoredBy, useAccount } from "../integrations/accounts";
import { integrations } from "../integrations/schema";
import { asTenant } from "../lib/db";
import { ApiError } from "../lib/errors";
import { type AwsCredentials, askAws, s3Url } from "../providers/aws";

export type BucketPlace = { region: string; bucket: string; key: string };

const PATIENCE_MS = 20_000;
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/**
 * What SES put into a bucket of the tenant's, fetched with the tenant's account: that of the domain, or its first. Where it
 * cannot be had SNS brings the notification again.
 */
export async function fetchReceived(
  env: Env,
  tenantId: string,
  domain: string,
  { region, bucket, key }: BucketPlace,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<{ bytes: ReadableStream<Uint8Array> | null; size: number }> {
  const [rows] = await asSystem(env, tenantId, waitUntil, (ctx) =>
    asTenant(ctx, [
      selectStoredBy(
        and(eq(integrations.tenantId, tenantId), eq(integrations.provider, "ses"), ne(integrations.status, "disabled")),
      )
        .orderBy(
          sql`exists (select 1 from domain_identities i join domains d on d.tenant_id = i.tenant_id and d.id = i.domain_id
            where i.tenant_id = ${integrations.tenantId} and i.integration_id = ${integrations.id} and d.name = ${domain}) desc`,
          integrations.createdAt,
        )
        .limit(1),
    ]),
  );
  const [stored] = rows;
  if (!stored || !BUCKET.test(bucket)) throw unavailable("there is no account of SES that may fetch it");
  const opened = await openAccount(env, tenantId, stored);
  const answer = await useAccount(
    env,
    opened,
    PATIENCE_MS,
    (_, { credentials }, io) =>
      askAws(
        { service: "s3", region, method: "GET", url: s3Url(region, bucket, key) },
        credentials as AwsCredentials,
        io,
      ),
    { waitUntil },
  );
  const size = Number(answer.headers.get("Content-Length") ?? Number.NaN);
  if (answer.status === 200 && Number.isInteger(size)) return { bytes: answer.body, size };
  await answer.body?.cancel();
  throw unavailable(`S3 answers with status ${answer.status}`);
}

const unavailable = (why: string) => new ApiError("unavailable", `The mail cannot be had from its bucket: ${why}.`);
