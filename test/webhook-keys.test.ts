import { expect, it } from "vitest";
import { fromBase64, utf8 } from "../src/lib/crypto";
import { verify } from "../src/webhooks/signature";
import { type Any, client, expectProblem, newTenant } from "./helpers";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

const visitor = client(null);
const pathOf = (url: string) => new URL(url).pathname;

/** As a receiver does it that knows nothing but the address of the keys. */
async function verifiesBy(keysUrl: string, { headers, body }: { headers: Record<string, string>; body: string }) {
  const { keys } = (await visitor.get(pathOf(keysUrl))).body;
  const signed = utf8(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const signatures = headers["webhook-signature"]!.split(" ").filter((one) => one.startsWith("v1a,"));
  const by: string[] = [];
  for (const jwk of keys) {
    const key = await crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["verify"]);
    for (const one of signatures)
      if (await crypto.subtle.verify("Ed25519", key, fromBase64(one.slice(4)), signed)) by.push(jwk.publicKey);
  }
  return by;
}

it("with a signing key deliveries carry a signature that anybody can check by the endpoint's public key", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = (await tenant.post("/v1/webhooks", { name: "x", url: receiver.url, events: ["channel.created"] })).body;
  const made = await tenant.post(`/v1/webhooks/${hook.id}/signing-key`, { overlapSeconds: 3600 });
  expect(made.status).toBe(201);
  const { publicKey, keysUrl } = made.body;

  await tenant.post("/v1/channels", { name: "one" });
  const [first] = await receiver.got(1);
  expect(await verifiesBy(keysUrl, first!)).toEqual([publicKey]);
  expect(await verifiesBy(keysUrl, { ...first!, body: `${first!.body} ` })).toEqual([]);
  const headers = new Headers(first!.headers);
  for (const key of [publicKey, hook.secret]) expect(await verify([key], headers, first!.body)).toBe(true);

  const next = (await tenant.post(`/v1/webhooks/${hook.id}/signing-key`, { overlapSeconds: 3600 })).body;
  await tenant.post(`/v1/webhooks/${hook.id}/rotate-secret`, { overlapSeconds: 0 });
  await tenant.post("/v1/channels", { name: "two" });
  const [, second] = await receiver.got(2);
  expect((await verifiesBy(keysUrl, second!)).sort()).toEqual([publicKey, next.publicKey].sort());
  expect(await verify([hook.secret], new Headers(second!.headers), second!.body)).toBe(false);

  await asOwner("update webhook_secrets set expires_at = now() where webhook_id = $1 and expires_at is not null", [
    hook.id,
  ]);
  const { keys } = (await visitor.get(pathOf(keysUrl))).body;
  expect(keys.map((key: Any) => key.publicKey)).toEqual([next.publicKey]);
});

it("the public keys are open to everybody, and tell nothing of endpoints that are not there", async () => {
  const [tenant, other] = [await newTenant(), await newTenant()];
  const { id } = (await tenant.post("/v1/webhooks", { name: "x", url: newReceiver().url })).body;

  const found = await visitor.get(`/.well-known/webhooks/${tenant.id}/${id}`);
  expect(found.body).toEqual({ keys: [] });
  expect(found.headers.get("Cache-Control")).toBe("public, max-age=300");
  for (const path of [`${other.id}/${id}`, `${tenant.id}/${crypto.randomUUID()}`, `${crypto.randomUUID()}/${id}`])
    expectProblem(await visitor.get(`/.well-known/webhooks/${path}`), 404, "not_found");
});

it("a repeated call with an Idempotency-Key makes one key pair and answers the same", async () => {
  const tenant = await newTenant();
  const { id } = (await tenant.post("/v1/webhooks", { name: "x", url: newReceiver().url })).body;
  const make = () => tenant.post(`/v1/webhooks/${id}/signing-key`, {}, { headers: { "Idempotency-Key": "one" } });

  const [first, second] = [await make(), await make()];

  expect(second.body).toEqual(first.body);
  expect((await visitor.get(pathOf(first.body.keysUrl))).body.keys).toHaveLength(1);
});
