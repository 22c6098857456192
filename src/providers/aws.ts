import { AwsV4Signer } from "aws4fetch";
import { z } from "../lib/validate";
import type { Io } from "./provider";

export const awsCredentials = z.strictObject({
  accessKeyId: z.string().regex(/^[A-Z0-9]{16,128}$/, "An access key's id."),
  secretAccessKey: z.string().min(16).max(255),
  sessionToken: z.string().max(4_096).optional(),
});
export type AwsCredentials = z.output<typeof awsCredentials>;

export const awsRegion = z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "A region such as eu-west-1.");

export const awsHost = (service: string, region: string): string =>
  `${service}.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;

type Call = { service: "ses" | "s3"; region: string; method: string; url: string; body?: Uint8Array<ArrayBuffer> };

/** One request by Signature Version 4. */
export async function askAws(
  { service, region, method, url, body }: Call,
  { accessKeyId, secretAccessKey, sessionToken }: AwsCredentials,
  { fetch, signal }: Pick<Io, "fetch" | "signal">,
): Promise<Response> {
  const signer = new AwsV4Signer({
    ...{ method, url, service, region, accessKeyId, secretAccessKey },
    ...(sessionToken !== undefined && { sessionToken }),
    ...(body && { body, headers: { "Content-Type": "application/json" } }),
  });
  const signed = await signer.sign();
  return fetch(signed.url, { method, headers: signed.headers, body: body ?? null, redirect: "manual", signal });
}

/** An object of a bucket; names with dots do not fit the certificate of a host of their own. */
export function s3Url(region: string, bucket: string, key: string): string {
  const path = key.split("/").map(encodeURIComponent).join("/");
  const host = awsHost("s3", region);
  return bucket.includes(".") ? `https://${host}/${bucket}/${path}` : `https://${bucket}.${host}/${path}`;
}
