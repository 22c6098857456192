import { env, exports } from "cloudflare:workers";
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { signedLink, tenantOfLink } from "../src/files/links";
import { contentDisposition, nameInDisposition } from "../src/files/names";
import { objectKey } from "../src/files/objects";
import { attachFiles } from "../src/files/service";
import { removeUnusedFiles } from "../src/files/unused";
import { systemContext } from "../src/lib/context";
import { sha256Hex } from "../src/lib/crypto";
import { asTenant } from "../src/lib/db";
import { plainName } from "../src/lib/file-names";
import { callsOf } from "./calls";
import { type Any, admin, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { asOwner } from "./setup/owner";

const ORIGIN = "http://parley.test";
type Sent = BodyInit | Uint8Array<ArrayBuffer>;
type Credential = { key: string };

/** Bytes as a file's app would send and read them, where the JSON client of the other tests does not serve. */
async function call(method: string, path: string, credential: Credential | null, headers = {}, body?: Sent) {
  const response = await exports.default.fetch(path.startsWith("http") ? path : ORIGIN + path, {
    method,
    headers: { ...(credential && { Authorization: `Bearer ${credential.key}` }), ...headers },
    ...(body !== undefined && { body }),
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const isJson = response.headers.get("Content-Type")?.includes("json");
  const text = new TextDecoder().decode(bytes);
  return {
    status: response.status,
    headers: response.headers,
    bytes,
    text,
    body: (isJson ? JSON.parse(text) : {}) as Any,
  };
}

const upload = (credential: Credential | null, body: Sent, headers: Record<string, string> = {}, name = "a.bin") =>
  call("POST", `/v1/files?name=${encodeURIComponent(name)}`, credential, headers, body);

async function uploaded(tenant: Credential, body: Sent = "hello", type = "text/plain", name = "a.txt"): Promise<Any> {
  const made = await upload(tenant, body, { "Content-Type": type }, name);
  expect(made.status, made.text).toBe(201);
  return made.body;
}

const download = (tenant: Credential | null, id: string, headers = {}, method = "GET") =>
  call(method, `/v1/files/${id}/content`, tenant, headers);

async function linkTo(tenant: Tenant, id: string, input: Record<string, unknown> = {}): Promise<string> {
  const made = await tenant.post(`/v1/files/${id}/links`, input);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body.url;
}

/** Bytes that differ from place to place, so that no slice passes for another. */
function noise(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65_536, size)));
  return bytes;
}

/** A body that arrives as the test lets it. */
function slowBody(announced: number) {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  return { writer, headers: { "Content-Length": String(announced) }, body: readable };
}

async function tenantOnPlan(limits: Record<string, number>, features = {}): Promise<Tenant> {
  const name = `plan ${crypto.randomUUID()}`;
  const plan = await (await admin()).post("/v1/plans", { name, tier: "test", limits, features });
  expect(plan.status, JSON.stringify(plan.body)).toBe(201);
  return newTenant({ planId: plan.body.id });
}

const storageOf = async (tenant: Tenant): Promise<number> => {
  const [row] = await asOwner<{ value: string }>(
    "select value from usage_totals where tenant_id = $1 and metric = 'storageBytes'",
    [tenant.id],
  );
  return Number(row?.value ?? 0);
};

const objectsOf = async (tenantId: string): Promise<string[]> =>
  (await env.FILES.list({ prefix: `${tenantId}/` })).objects.map(({ key }) => key);

/** The tenant's newest file, as soon as there is one. */
const newestFile = (tenant: Tenant): Promise<Any> =>
  vi.waitFor(
    async () => {
      const { data } = (await tenant.get("/v1/files?limit=1")).body;
      expect(data).toHaveLength(1);
      return data[0];
    },
    { timeout: 10_000 },
  );

const makeOld = (id: string, hours = 25) =>
  asOwner("update files set created_at = now() - make_interval(secs => 3600 * $2::float8) where id = $1", [id, hours]);
const sweep = (over: Partial<Env> = {}) => removeUnusedFiles({ ...env, ...over } as Env);
const contextOf = (tenant: Tenant) => systemContext(env as Env, tenant.id, () => {});
const attach = (tenant: Tenant, ...ids: string[]) => asTenant(contextOf(tenant), [attachFiles(ids)]);

describe("an upload", () => {
  it("comes back byte for byte, with its hash, size, type and name", async () => {
    const tenant = await newTenant();
    const body = noise(300_000);

    const made = await upload(tenant, body, { "Content-Type": "Image/PNG; q=1" }, "picture.png");

    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      name: "picture.png",
      contentType: "image/png",
      size: 300_000,
      sha256: await sha256Hex(body),
      status: "completed",
      error: null,
      createdBy: null,
      attachedAt: null,
    });
    expect((await tenant.get(`/v1/files/${made.body.id}`)).body).toEqual(made.body);
    const back = await download(tenant, made.body.id);
    expect(back.status).toBe(200);
    expect(back.bytes).toEqual(body);
    expect(await storageOf(tenant)).toBe(300_000);
  });

  it("may be empty", async () => {
    const tenant = await newTenant();

    const made = await upload(tenant, "", { "Content-Length": "0" });

    expect(made.body).toMatchObject({ size: 0, status: "completed", sha256: await sha256Hex("") });
    expect((await download(tenant, made.body.id)).bytes).toHaveLength(0);
    expect((await download(tenant, made.body.id, { Range: "bytes=0-" })).status).toBe(416);
  });

  it("of 20 MB is streamed in pieces", async () => {
    const tenant = await newTenant();
    const piece = noise(1_000_000);
    const digest = new crypto.DigestStream("SHA-256");
    const hashed = digest.getWriter();
    const { writer, headers, body } = slowBody(20_000_000);

    const answer = upload(tenant, body, headers);
    for (let sent = 0; sent < 20; sent++) {
      await Promise.all([writer.write(piece), hashed.write(piece)]);
    }
    await Promise.all([writer.close(), hashed.close()]);

    const made = await answer;
    const hash = [...new Uint8Array(await digest.digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    expect(made.body).toMatchObject({ size: 20_000_000, sha256: hash, status: "completed" });
    const tail = await download(tenant, made.body.id, { Range: "bytes=-1000000" });
    expect(tail.bytes).toEqual(piece);
  });

  it("takes two calls of the database, a link one, and a download by it none", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    const url = await linkTo(tenant, id);

    expect(await callsOf(() => uploaded(tenant))).toBe(2);
    expect(await callsOf(() => linkTo(tenant, id))).toBe(1);
    expect(await callsOf(() => call("GET", url, null))).toBe(0);
    expect(await callsOf(() => download(tenant, id))).toBe(1);
  });

  it.each([
    ["breaks off", 5, (writer: WritableStreamDefaultWriter) => writer.abort(new Error("gone"))],
    ["ends too early", 5, (writer: WritableStreamDefaultWriter) => writer.close()],
    ["goes on for longer than announced", 3, (writer: WritableStreamDefaultWriter) => writer.close()],
  ])("that %s is failed and leaves nothing behind", async (_, announced, end) => {
    const tenant = await newTenant();
    const { writer, headers, body } = slowBody(announced);

    const answer = upload(tenant, body, headers);
    await writer.write(new TextEncoder().encode("1234"));
    await end(writer).catch(() => {});

    expectProblem(await answer, 422, "invalid_request", "body");
    expect(await newestFile(tenant)).toMatchObject({
      status: "failed",
      size: 0,
      sha256: null,
      error: expect.any(String),
    });
    expect(await objectsOf(tenant.id)).toEqual([]);
    expect(await storageOf(tenant)).toBe(0);
  });

  it("holds its room while it is under way", async () => {
    const tenant = await newTenant();
    const { writer, headers, body } = slowBody(10);

    const answer = upload(tenant, body, headers);
    await writer.write(new TextEncoder().encode("12345"));

    expect(await newestFile(tenant)).toMatchObject({ status: "uploading", size: 10, completedAt: null });
    expectProblem(await download(tenant, (await newestFile(tenant)).id), 404, "not_found");
    await writer.write(new TextEncoder().encode("67890"));
    await writer.close();
    expect((await answer).body.status).toBe("completed");
  });

  it("survives a change of the tenant's settings, and ends with its credential", async () => {
    const tenant = await newTenant();
    const other = (await tenant.post("/v1/api-keys", { name: "uploader", scopes: ["files:write"] })).body;
    const [first, second] = [slowBody(2), slowBody(2)];

    const kept = upload(tenant, first.body, first.headers);
    const lost = upload({ key: other.secret }, second.body, second.headers, "lost.bin");
    await Promise.all([first, second].map(({ writer }) => writer.write(new Uint8Array([1]))));
    await vi.waitFor(async () => expect((await tenant.get("/v1/files?status=uploading")).body.data).toHaveLength(2));
    expect((await tenant.delete(`/v1/api-keys/${other.id}`)).status).toBeLessThan(300);
    await Promise.all(
      [first, second].map(({ writer }) => writer.write(new Uint8Array([2])).then(() => writer.close())),
    );

    expect((await kept).status).toBe(201);
    expectProblem(await lost, 401, "key_revoked");
    const [failed] = (await tenant.get("/v1/files?status=failed")).body.data;
    expect(failed).toMatchObject({ name: "lost.bin", size: 0 });
    expect(await objectsOf(tenant.id)).toEqual([objectKey(tenant.id, (await kept).body.id)]);
  });

  it("that is deleted under way leaves nothing behind", async () => {
    const tenant = await newTenant();
    const { writer, headers, body } = slowBody(2);
    const answer = upload(tenant, body, headers);
    await writer.write(new Uint8Array([1]));

    expect((await tenant.delete(`/v1/files/${(await newestFile(tenant)).id}`)).status).toBe(204);
    await writer.write(new Uint8Array([2]));
    await writer.close();

    expectProblem(await answer, 404, "not_found");
    expect(await objectsOf(tenant.id)).toEqual([]);
    expect(await storageOf(tenant)).toBe(0);
  });

  it("is held to the hash it was announced with", async () => {
    const tenant = await newTenant();
    const right = await sha256Hex("hello");

    expect((await upload(tenant, "hello", { "Parley-Sha256": right.toUpperCase() })).status).toBe(201);
    expectProblem(
      await upload(tenant, "Hello", { "Parley-Sha256": right }),
      422,
      "invalid_request",
      "header.Parley-Sha256",
    );
    expectProblem(
      await upload(tenant, "hello", { "Parley-Sha256": "abc" }),
      422,
      "invalid_request",
      "header.Parley-Sha256",
    );

    const { data } = (await tenant.get("/v1/files")).body;
    expect(data.map((file: Any) => file.status)).toEqual(["failed", "completed"]);
    expect(await objectsOf(tenant.id)).toHaveLength(1);
  });

  it("without a length, in a form, or with an impossible header is refused before anything is kept", async () => {
    const tenant = await newTenant();
    const { readable } = new IdentityTransformStream();
    const form = new FormData();
    form.set("file", new File(["hello"], "a.txt"));

    expectProblem(await upload(tenant, readable), 411, "length_required");
    expectProblem(await upload(tenant, "hello", { "Content-Length": "-5" }), 400, "malformed_header");
    expectProblem(await upload(tenant, form), 422, "invalid_request", "header.Content-Type");
    expectProblem(await upload(tenant, "hello", { "Content-Type": "text" }), 400, "malformed_header");
    expectProblem(await upload(null, "hello"), 401, "missing_credential");

    expect((await tenant.get("/v1/files")).body.data).toEqual([]);
  });
});

describe("limits", () => {
  it("refuse a file that is larger than the plan allows", async () => {
    const tenant = await tenantOnPlan({ fileBytes: 4 });

    const refused = await upload(tenant, "hello");

    expectProblem(refused, 413, "payload_too_large");
    expect(refused.body).toMatchObject({ limit: 4, use: 5 });
    expectProblem(await tenant.post("/v1/files/uploads", { name: "a", size: 5 }), 413, "payload_too_large");
    expect((await upload(tenant, "hell")).status).toBe(201);
  });

  it("refuse a file of a type that the plan does not name, at once and in parts", async () => {
    const tenant = await tenantOnPlan({}, { fileTypes: ["image/*", "application/pdf"] });
    const send = (type: string) => upload(tenant, "hello", { "Content-Type": type });
    const begin = (contentType?: string) => tenant.post("/v1/files/uploads", { name: "a", size: 5, contentType });

    for (const type of ["text/html", "application/pdfx", "imagery/png", "application/octet-stream"]) {
      const refused = await send(type);
      expectProblem(refused, 415, "file_type_not_allowed");
      expect(refused.body.allowed).toEqual(["image/*", "application/pdf"]);
      expectProblem(await begin(type), 415, "file_type_not_allowed");
    }
    expectProblem(await begin(), 415, "file_type_not_allowed");
    for (const type of ["image/png", "IMAGE/JPEG; x=y", "application/pdf"]) {
      expect((await send(type)).status).toBe(201);
      expect((await begin(type)).status).toBe(201);
    }
    expect(await storageOf(tenant)).toBe(30);
    expect((await upload(await newTenant(), "hello", { "Content-Type": "text/html" })).status).toBe(201);
  });

  it("name types by patterns, and anything else is no plan", async () => {
    const operator = await admin();
    const make = (fileTypes: unknown) => operator.post("/v1/plans", { name: "x", tier: "x", features: { fileTypes } });

    expectProblem(await make("image/*"), 422, "invalid_request", "features.fileTypes");
    expectProblem(await make(["image/png", "*"]), 422, "invalid_request", "features.fileTypes.1");
    expectProblem(await make(["Image/PNG"]), 422, "invalid_request", "features.fileTypes.0");
    expect((await make(["image/svg+xml", "text/*"])).status).toBe(201);
  });

  it("send what is too large for one request to the upload in parts", async () => {
    const tenant = await newTenant();

    const refused = await upload(tenant, "hello", { "Content-Length": "100000001" });

    expectProblem(refused, 413, "payload_too_large");
    expect(refused.body.detail).toContain("in parts");
  });

  it("of storage hold however many uploads race, and room that was given back is used again", async () => {
    const tenant = await tenantOnPlan({ storageBytes: 45 });

    const answers = await Promise.all(Array.from({ length: 12 }, () => upload(tenant, "0123456789")));

    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, 201, ...Array(8).fill(402)]);
    expect(answers.find(({ status }) => status === 402)?.body).toMatchObject({
      code: "plan_limit_reached",
      metric: "storageBytes",
      limit: 45,
      use: 40,
    });
    expect(await storageOf(tenant)).toBe(40);
    expect(await objectsOf(tenant.id)).toHaveLength(4);
    expectProblem(await tenant.post("/v1/files/uploads", { name: "a", size: 6 }), 402, "plan_limit_reached");

    await tenant.delete(`/v1/files/${answers.find(({ status }) => status === 201)!.body.id}`);
    expect((await upload(tenant, "0123456789")).status).toBe(201);
  });
});

describe("names", () => {
  it.each([
    ["../../etc/passwd", "passwd"],
    ["C:\\Users\\ann\\cv.pdf", "cv.pdf"],
    ["a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1"],
    ['say "hi".txt', 'say "hi".txt'],
    ["gro\u00dfe Pl\u00e4ne \u{1f680}.pdf", "gro\u00dfe Pl\u00e4ne \u{1f680}.pdf"],
    ["\u202egpj.exe", "gpj.exe"],
    ["..", "file"],
    ["\0\u0007", "file"],
  ])("%j is kept as %j and handed out again", async (given, kept) => {
    const tenant = await newTenant();
    const inHeader = `attachment; filename="x"; filename*=UTF-8''${encodeURIComponent(given)}`;

    const made = await call("POST", "/v1/files", tenant, { "Content-Disposition": inHeader }, "hello");

    expect(made.body.name).toBe(kept);
    const header = (await download(tenant, made.body.id)).headers.get("Content-Disposition")!;
    expect(header).toMatch(/^attachment; filename="[\x20-\x7e]*"/);
    expect(nameInDisposition(header)).toBe(kept);
    if (!given.includes("\0")) expect((await upload(tenant, "hello", {}, given)).body.name).toBe(kept);
  });

  it("of any kind make one line of ASCII that says them again", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (given) => {
        const name = plainName(given);
        const header = contentDisposition("attachment", name);

        expect(header).toMatch(/^[\x20-\x7e]+$/);
        expect(nameInDisposition(header)).toBe(name);
        expect(name).toMatch(/^[^/\\\p{Cc}]+$/u);
        expect(plainName(name)).toBe(name);
      }),
      { numRuns: 1_000 },
    );
  });

  it("may come as a quoted string, and not at all", async () => {
    const tenant = await newTenant();
    const named = async (header: Record<string, string>) =>
      (await call("POST", "/v1/files", tenant, header, "hello")).body.name;

    expect(await named({ "Content-Disposition": 'form-data; name="f"; filename="a \\"b\\"; c.txt"' })).toBe(
      'a "b"; c.txt',
    );
    expect(await named({})).toBe("file");
    const broken = { "Content-Disposition": "attachment; filename*=UTF-8''%ff" };
    expectProblem(await call("POST", "/v1/files", tenant, broken, "hello"), 400, "malformed_header");
  });
});

describe("a download", () => {
  it.each([
    ["text/html", "<script>alert(1)</script>"],
    ["image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"],
    ["application/xhtml+xml", "<html xmlns='http://www.w3.org/1999/xhtml'/>"],
    ["text/javascript", "alert(1)"],
    ["application/xml", "<a/>"],
  ])("of %s is bytes to be saved, whatever was asked for", async (type, body) => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant, body, type, "page.html");

    const got = await call("GET", await linkTo(tenant, id, { disposition: "inline" }), null);

    expect(got.text).toBe(body);
    expect(Object.fromEntries(got.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": 'attachment; filename="page.html"',
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; sandbox",
      "cross-origin-resource-policy": "cross-origin",
      "referrer-policy": "no-referrer",
    });
    const stored = await env.FILES.head(objectKey(tenant.id, id));
    expect(stored?.httpMetadata?.contentType).toBe("application/octet-stream");
  });

  it.each([
    ["image/png", "image/png"],
    ["application/pdf", "application/pdf"],
    ["video/mp4", "video/mp4"],
    ["text/plain", "text/plain; charset=utf-8"],
  ])("of %s may be shown, inside a sandbox", async (type, served) => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant, "hello", type, "a");

    const inline = await call("GET", await linkTo(tenant, id, { disposition: "inline" }), null);
    const saved = await call("GET", await linkTo(tenant, id), null);

    expect(inline.headers.get("Content-Type")).toBe(served);
    expect(inline.headers.get("Content-Disposition")).toBe('inline; filename="a"');
    expect(inline.headers.get("Content-Security-Policy")).toBe("default-src 'none'; sandbox");
    expect(saved.headers.get("Content-Disposition")).toBe('attachment; filename="a"');
  });

  it("answers any range with those bytes and no others", async () => {
    const tenant = await newTenant();
    const body = noise(1_000);
    const { id } = await uploaded(tenant, body);
    const url = await linkTo(tenant, id);
    const place = fc.integer({ min: 0, max: 1_200 });

    await fc.assert(
      fc.asyncProperty(fc.option(place), fc.option(place), async (first, last) => {
        fc.pre(first !== null || last !== null);
        const got = await call("GET", url, null, { Range: `bytes=${first ?? ""}-${last ?? ""}` });

        const [from, to] = first === null ? [Math.max(0, 1_000 - last!), 999] : [first, Math.min(last ?? 999, 999)];
        if (first !== null && last !== null && last < first) {
          expect(got.status).toBe(200);
          expect(got.bytes).toEqual(body);
        } else if (from > 999) {
          expectProblem(got, 416, "range_not_satisfiable");
          expect(got.headers.get("Content-Range")).toBe("bytes */1000");
        } else {
          expect(got.status).toBe(206);
          expect(got.bytes).toEqual(body.slice(from, to + 1));
          expect(got.headers.get("Content-Range")).toBe(`bytes ${from}-${to}/1000`);
          expect(got.headers.get("Content-Length")).toBe(String(to - from + 1));
        }
      }),
      {
        numRuns: 150,
        examples: [
          [0, 0],
          [999, 999],
          [1_000, null],
          [null, 0],
          [null, 1_200],
          [0, null],
        ],
      },
    );
  });

  it.each(["bytes=0-1,4-5", "items=0-1", "bytes=a-b", "bytes=-", "0-1"])("ignores the range %s", async (range) => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);

    const got = await download(tenant, id, { Range: range });

    expect([got.status, got.text]).toEqual([200, "hello"]);
  });

  it("is spared who has it already, and goes on only where it is still the same", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    const etag = (await download(tenant, id)).headers.get("ETag")!;
    expect(etag).toMatch(/^"[^"]+"$/);

    const known = await download(tenant, id, { "If-None-Match": `"other", W/${etag}` });
    expect([known.status, known.text, known.headers.get("ETag")]).toEqual([304, "", etag]);
    expect((await download(tenant, id, { "If-None-Match": "*" })).status).toBe(304);
    expect((await download(tenant, id, { "If-None-Match": '"other"' })).text).toBe("hello");
    expect((await download(tenant, id, { Range: "bytes=1-2", "If-Range": etag })).text).toBe("el");
    expect((await download(tenant, id, { Range: "bytes=1-2", "If-Range": '"other"' })).text).toBe("hello");
  });

  it("answers HEAD with what GET would say", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);

    const [get, head] = [await download(tenant, id), await download(tenant, id, {}, "HEAD")];

    expect([head.status, head.text]).toEqual([200, ""]);
    expect([get, head].map(({ headers }) => headers.has("RateLimit"))).toEqual([true, true]);
    for (const name of [
      "Content-Length",
      "Content-Type",
      "Content-Disposition",
      "ETag",
      "Accept-Ranges",
      "Last-Modified",
    ]) {
      expect(head.headers.get(name), name).toBe(get.headers.get(name));
      expect(head.headers.get(name), name).toBeTruthy();
    }
    expect((await download(tenant, id, { Range: "bytes=1-2" }, "HEAD")).headers.get("Content-Range")).toBe(
      "bytes 1-2/5",
    );
    expectProblem(await download(tenant, crypto.randomUUID()), 404, "not_found");
  });
});

describe("a link", () => {
  it("lets in without a credential until it expires", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    const now = Math.floor(Date.now() / 1000);

    const made = await tenant.post(`/v1/files/${id}/links`, { expiresInSeconds: 604_800 });
    const old = await signedLink(env as Env, { tenantId: tenant.id, id, disposition: "attachment", expires: now - 1 });

    expect(Date.parse(made.body.expiresAt) / 1000 - now).toBeGreaterThan(604_790);
    const got = await call("GET", made.body.url, null);
    expect([got.status, got.text]).toEqual([200, "hello"]);
    expect(got.headers.get("Cache-Control")).toMatch(/^private, no-transform, max-age=604[78]\d\d$/);
    expectProblem(await call("GET", old, null), 401, "token_expired");
    expectProblem(await tenant.post(`/v1/files/${id}/links`, { expiresInSeconds: 604_801 }), 422, "invalid_request");
  });

  it("holds for its file, tenant, disposition and time alone", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const [{ id }, foreign, second] = [await uploaded(tenant), await uploaded(other), await uploaded(tenant)];
    const url = new URL(await linkTo(tenant, id));
    const changed = (name: string, value: string) => {
      const copy = new URL(url);
      copy.searchParams.set(name, value);
      return copy.href;
    };
    const signature = url.searchParams.get("signature")!;
    const flipped = signature.slice(0, -2) + (signature.at(-2) === "A" ? "B" : "A") + signature.at(-1);

    for (const forged of [
      url.href.replace(id, second.id),
      url.href.replace(id, foreign.id),
      changed("disposition", "inline"),
      changed("expires", String(Number(url.searchParams.get("expires")) + 1)),
      changed("signature", signature.replace(tenant.id, other.id)),
      changed("signature", signature.replace(/^1\./, "2.")),
      changed("signature", flipped),
      changed("signature", "x"),
      changed("signature", ""),
    ]) {
      expectProblem(await call("GET", forged, null), 401, "token_invalid");
    }
    expect((await call("GET", url.href, null)).status).toBe(200);
  });

  it("holds under the master secret it was made with as long as that lives", async () => {
    const link = { id: crypto.randomUUID(), disposition: "inline" as const, expires: 9_999_999_999 };
    const tenantId = crypto.randomUUID();
    const secret = (fill: number) => btoa(String.fromCharCode(...new Uint8Array(32).fill(fill)));
    const underSecrets = (secrets: string) => ({ ...env, MASTER_SECRETS: secrets }) as Env;
    const signature = new URL(await signedLink(underSecrets(`1:${secret(1)}`), { tenantId, ...link })).searchParams.get(
      "signature",
    )!;

    expect(await tenantOfLink(underSecrets(`1:${secret(1)} 2:${secret(2)}`), link, signature)).toBe(tenantId);
    await expect(tenantOfLink(underSecrets(`2:${secret(2)}`), link, signature)).rejects.toThrow("does not hold");
    await expect(tenantOfLink(underSecrets(`1:${secret(2)}`), link, signature)).rejects.toThrow("does not hold");
  });

  it("is repeated under an Idempotency-Key, is refused for an unfinished file, and ends with the file", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    const again = () => tenant.post(`/v1/files/${id}/links`, {}, { headers: { "Idempotency-Key": "k" } });
    const unfinished = await tenant.post("/v1/files/uploads", { name: "a", size: 5 });

    const url = (await again()).body.url;
    expect((await again()).body.url).toBe(url);
    expectProblem(await tenant.post(`/v1/files/${unfinished.body.id}/links`, {}), 409, "conflict");

    expect((await tenant.delete(`/v1/files/${id}`)).status).toBe(204);
    expectProblem(await call("GET", url, null), 404, "not_found");
  });
});

describe("who reaches a file", () => {
  it("another tenant's file does not exist: not to be seen, fetched, changed or attached", async () => {
    const [tenant, stranger] = [await newTenant(), await newTenant()];
    const { id } = await uploaded(tenant);
    const part = (await tenant.post("/v1/files/uploads", { name: "a", size: 5 })).body.id;

    expectProblem(await stranger.get(`/v1/files/${id}`), 404, "not_found");
    expectProblem(await download(stranger, id), 404, "not_found");
    expectProblem(await stranger.post(`/v1/files/${id}/links`, {}), 404, "not_found");
    expectProblem(await stranger.delete(`/v1/files/${id}`), 404, "not_found");
    expectProblem(await call("PUT", `/v1/files/${part}/parts/1`, stranger, {}, "hello"), 404, "not_found");
    expectProblem(await stranger.get(`/v1/files/${part}/parts`), 404, "not_found");
    expectProblem(await stranger.post(`/v1/files/${part}/complete`, {}), 404, "not_found");
    await expect(attach(stranger, id)).rejects.toMatchObject({ code: "not_found" });

    expect((await stranger.get("/v1/files")).body.data).toEqual([]);
    expect((await tenant.get(`/v1/files/${id}`)).body).toMatchObject({ status: "completed", attachedAt: null });
    expect((await download(tenant, id)).text).toBe("hello");
  });

  it("users reach what they uploaded themselves, operators all of it", async () => {
    const tenant = await newTenant();
    const [ann, bob, operator] = [
      await newUser(tenant),
      await newUser(tenant, { displayName: "Bob" }),
      await newUser(tenant, { displayName: "Olga", role: "viewer" }),
    ];
    const tokenOf = async ({ id }: Any) => ({ key: (await tenant.post(`/v1/users/${id}/tokens`, {})).body.token });
    const file = await uploaded(await tokenOf(ann));
    const [anns, bobs, operators] = await Promise.all([ann, bob, operator].map(({ id }) => userClient(tenant, id)));

    expect(file.createdBy).toBe(ann.id);
    expect((await anns!.get(`/v1/files/${file.id}`)).body).toEqual(file);
    expect((await operators!.get("/v1/files")).body.data).toEqual([file]);
    expect((await bobs!.get("/v1/files")).body.data).toEqual([]);
    expectProblem(await bobs!.get(`/v1/files/${file.id}`), 404, "not_found");
    expectProblem(await bobs!.post(`/v1/files/${file.id}/links`, {}), 404, "not_found");
    expectProblem(await bobs!.delete(`/v1/files/${file.id}`), 404, "not_found");
    expectProblem(await download(await tokenOf(bob), file.id), 404, "not_found");
    expect((await anns!.delete(`/v1/files/${file.id}`)).status).toBe(204);
  });

  it("a key needs the scope for what it does", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    const keyWith = async (scope: string) => ({
      key: (await tenant.post("/v1/api-keys", { name: scope, scopes: [scope] })).body.secret,
    });
    const [reader, writer] = [await keyWith("files:read"), await keyWith("files:write")];

    expectProblem(await upload(reader, "hello"), 403, "missing_scope");
    expectProblem(await call("DELETE", `/v1/files/${id}`, reader), 403, "missing_scope");
    expectProblem(await download(writer, id), 403, "missing_scope");
    expectProblem(await download(null, id), 401, "missing_credential");
    expect((await download(reader, id)).status).toBe(200);
    expect((await upload(writer, "hello")).status).toBe(201);
  });
});

describe("the list", () => {
  it("is filtered by status, type, size and time, and read page by page", async () => {
    const tenant = await newTenant();
    const text = await uploaded(tenant, "hello", "text/plain");
    const png = await uploaded(tenant, noise(200), "image/png");
    const gif = await uploaded(tenant, noise(300), "image/gif");
    const begun = (await tenant.post("/v1/files/uploads", { name: "a", size: 400 })).body;
    const ids = async (query: string) => (await tenant.get(`/v1/files?${query}`)).body.data.map(({ id }: Any) => id);

    expect(await ids("")).toEqual([begun.id, gif.id, png.id, text.id]);
    expect(await ids("status=uploading")).toEqual([begun.id]);
    expect(await ids("type=image/png")).toEqual([png.id]);
    expect(await ids("type=image/*")).toEqual([gif.id, png.id]);
    expect(await ids("minSize=300&status=completed")).toEqual([gif.id]);
    await makeOld(text.id);
    expect(await ids(`since=${new Date(Date.now() - 3_600_000).toISOString()}`)).toEqual([begun.id, gif.id, png.id]);
    const page = (await tenant.get("/v1/files?limit=3")).body;
    expect(await ids(`limit=3&cursor=${page.nextCursor}`)).toEqual([text.id]);
    for (const query of ["status=gone", "type=image", "minSize=-1", "since=yesterday", "colour=red"]) {
      expectProblem(await tenant.get(`/v1/files?${query}`), 422, "invalid_request");
    }
  });
});

describe("a file that is referred to", () => {
  it("stays: it can neither be deleted nor swept away", async () => {
    const tenant = await newTenant();
    const [first, second] = [await uploaded(tenant), await uploaded(tenant)];

    await attach(tenant, first.id, second.id);
    const { attachedAt } = (await tenant.get(`/v1/files/${first.id}`)).body;
    await attach(tenant, first.id);
    await makeOld(first.id);
    await sweep();

    expect(attachedAt).toEqual(expect.any(String));
    expect((await tenant.get(`/v1/files/${first.id}`)).body).toMatchObject({ attachedAt, status: "completed" });
    expectProblem(await tenant.delete(`/v1/files/${first.id}`), 409, "conflict");
    expect((await download(tenant, first.id)).text).toBe("hello");
  });

  it("must be complete and the caller's own, or nothing of the batch is done", async () => {
    const tenant = await newTenant();
    const ann = await newUser(tenant);
    const [done, begun] = [
      await uploaded(tenant),
      (await tenant.post("/v1/files/uploads", { name: "a", size: 5 })).body,
    ];

    await expect(attach(tenant, done.id, begun.id)).rejects.toMatchObject({ code: "conflict" });
    await expect(attach(tenant, done.id, crypto.randomUUID())).rejects.toMatchObject({ code: "not_found" });
    const asAnn = {
      ...contextOf(tenant),
      actor: { kind: "user" as const, user: { id: ann.id }, jti: "j", issuedAt: Date.now() / 1000 + 9 },
    };
    await expect(asTenant({ ...asAnn, scope: "any" }, [attachFiles([done.id])])).rejects.toMatchObject({
      code: "not_found",
    });

    expect((await tenant.get(`/v1/files/${done.id}`)).body.attachedAt).toBeNull();
  });
});

describe("deleting", () => {
  it("removes row and object, gives back the room and is in the audit log", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);

    expect((await tenant.delete(`/v1/files/${id}`)).status).toBe(204);

    expectProblem(await tenant.get(`/v1/files/${id}`), 404, "not_found");
    expectProblem(await tenant.delete(`/v1/files/${id}`), 404, "not_found");
    expect(await objectsOf(tenant.id)).toEqual([]);
    expect(await storageOf(tenant)).toBe(0);
    const [entry, ...more] = await asOwner(
      "select action, target_id from audit_logs where tenant_id = $1 and target_type = 'file'",
      [tenant.id],
    );
    expect([entry, more]).toEqual([{ action: "file.deleted", target_id: id }, []]);
  });
});

describe("the sweep", () => {
  it("removes after a day what nothing refers to and what never came to its end, of all tenants", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const [unused, fresh, theirs] = [await uploaded(tenant), await uploaded(tenant), await uploaded(other)];
    const begun = (await tenant.post("/v1/files/uploads", { name: "a", size: 8_388_609 })).body;
    await call("PUT", `/v1/files/${begun.id}/parts/2`, tenant, {}, "x");
    const { writer, headers, body } = slowBody(5);
    const stuck = upload(tenant, body, headers, "stuck.bin");
    await writer.write(new Uint8Array([1]));
    const { id } = await vi.waitFor(async () => {
      const file = await newestFile(tenant);
      expect(file.name).toBe("stuck.bin");
      return file;
    });
    for (const old of [unused.id, theirs.id, begun.id, id]) await makeOld(old);

    await sweep();

    expect((await tenant.get("/v1/files")).body.data).toEqual([fresh]);
    expect((await other.get("/v1/files")).body.data).toEqual([]);
    expect(await objectsOf(tenant.id)).toEqual([objectKey(tenant.id, fresh.id)]);
    expect([await storageOf(tenant), await storageOf(other)]).toEqual([5, 0]);
    await writer.write(new Uint8Array([2, 3, 4, 5]));
    await writer.close();
    expectProblem(await stuck, 404, "not_found");
    expect(await objectsOf(tenant.id)).toEqual([objectKey(tenant.id, fresh.id)]);
  });

  it("leaves alone what has been unused for not quite a day", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    await makeOld(id, 23.9);

    await sweep();

    expect((await tenant.get(`/v1/files/${id}`)).body).toMatchObject({ id, status: "completed" });
    expect((await download(tenant, id)).text).toBe("hello");
  });

  it("that was interrupted is finished by the next, and nothing is attached meanwhile", async () => {
    const tenant = await newTenant();
    const { id } = await uploaded(tenant);
    await makeOld(id);
    const broken = { ...env.FILES, delete: () => Promise.reject(new Error("cut off")) } as unknown as R2Bucket;

    await expect(sweep({ FILES: broken })).rejects.toThrow("cut off");
    await expect(attach(tenant, id)).rejects.toMatchObject({ code: "conflict" });
    expect(await objectsOf(tenant.id)).toHaveLength(1);

    await sweep();
    expect(await objectsOf(tenant.id)).toEqual([]);
    expectProblem(await tenant.get(`/v1/files/${id}`), 404, "not_found");
  });

  it("that was interrupted is not undone by an upload that ends after all", async () => {
    const tenant = await newTenant();
    const { writer, headers, body } = slowBody(2);
    const late = upload(tenant, body, headers);
    await writer.write(new Uint8Array([1]));
    await makeOld((await newestFile(tenant)).id);
    const broken = { ...env.FILES, delete: () => Promise.reject(new Error("cut off")) } as unknown as R2Bucket;
    await expect(sweep({ FILES: broken })).rejects.toThrow("cut off");

    await writer.write(new Uint8Array([2]));
    await writer.close();

    expectProblem(await late, 404, "not_found");
    expect(await newestFile(tenant)).toMatchObject({ status: "failed", completedAt: null });
    expect(await objectsOf(tenant.id)).toEqual([]);
  });
});

describe("an upload in parts", () => {
  const PART = 8_388_608;
  const begin = async (tenant: Tenant, size: number, input = {}) => {
    const made = await tenant.post("/v1/files/uploads", { name: "film.mp4", contentType: "video/mp4", size, ...input });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    return made.body;
  };
  const send = (tenant: Tenant, id: string, number: number, body: Sent, headers = {}) =>
    call("PUT", `/v1/files/${id}/parts/${number}`, tenant, headers, body);

  it("takes them in any order and again, and ends as one file with its hash", async () => {
    const tenant = await newTenant();
    const body = noise(PART + 1_000);
    const [first, last] = [body.slice(0, PART), body.slice(PART)];

    const begun = await begin(tenant, body.length);
    expect(begun).toMatchObject({ status: "uploading", size: body.length, partSize: PART, parts: 2 });
    expect((await send(tenant, begun.id, 2, noise(1_000))).status).toBe(200);
    const missing = await tenant.post(`/v1/files/${begun.id}/complete`, {});
    expectProblem(missing, 409, "conflict");
    expect(missing.body.missing).toEqual([1]);
    expect((await send(tenant, begun.id, 2, last, { "Parley-Sha256": await sha256Hex(last) })).body).toEqual({
      number: 2,
      size: 1_000,
      sha256: await sha256Hex(last),
    });
    expect((await send(tenant, begun.id, 1, first)).status).toBe(200);
    const page = (await tenant.get(`/v1/files/${begun.id}/parts?limit=1`)).body;
    expect(page.data).toEqual([{ number: 1, size: PART, sha256: await sha256Hex(first) }]);
    const next = (await tenant.get(`/v1/files/${begun.id}/parts?limit=1&cursor=${encodeURIComponent(page.nextCursor)}`))
      .body;
    expect(next).toMatchObject({ data: [{ number: 2, size: 1_000 }], nextCursor: null });

    const done = await tenant.post(`/v1/files/${begun.id}/complete`, { sha256: await sha256Hex(body) });

    expect(done.body).toMatchObject({
      status: "completed",
      size: body.length,
      sha256: await sha256Hex(body),
      contentType: "video/mp4",
    });
    expect((await tenant.post(`/v1/files/${begun.id}/complete`, {})).body).toEqual(done.body);
    expect((await download(tenant, begun.id)).bytes).toEqual(body);
    expect(await objectsOf(tenant.id)).toEqual([objectKey(tenant.id, begun.id)]);
    expectProblem(await send(tenant, begun.id, 1, first), 409, "conflict");
  });

  it("is completed once by calls that race, and by one that repeats an interrupted one", async () => {
    const tenant = await newTenant();
    const [raced, cut] = [await begin(tenant, 5), await begin(tenant, 5)];
    for (const { id } of [raced, cut]) await send(tenant, id, 1, "hello");

    const answers = await Promise.all([1, 2, 3].map(() => tenant.post(`/v1/files/${raced.id}/complete`, {})));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);

    const key = objectKey(tenant.id, cut.id);
    const [row] = await asOwner<{ upload_id: string }>("select upload_id from files where id = $1", [cut.id]);
    const [{ customMetadata }] = (
      await env.FILES.list({ prefix: `${key}/`, include: ["customMetadata"] } as R2ListOptions)
    ).objects as [R2Object];
    await env.FILES.resumeMultipartUpload(key, row!.upload_id).complete([
      { partNumber: 1, etag: customMetadata!.etag! },
    ]);
    const again = await tenant.post(`/v1/files/${cut.id}/complete`, {});
    expect(again.body).toMatchObject({ status: "completed", sha256: await sha256Hex("hello") });
    expect(await objectsOf(tenant.id)).toHaveLength(2);
  });

  it("is begun once under an Idempotency-Key", async () => {
    const tenant = await newTenant();
    const again = () =>
      tenant.post("/v1/files/uploads", { name: "a", size: 5 }, { headers: { "Idempotency-Key": "k" } });

    const create = vi.spyOn(env.FILES, "createMultipartUpload");
    const [first, second] = [await again(), await again()];
    const begun = await Promise.all(create.mock.results.map(({ value }) => value as Promise<R2MultipartUpload>));
    create.mockRestore();

    expect(second.body).toEqual(first.body);
    const [kept, ...others] = begun;
    expect((await asOwner("select upload_id from files where id = $1", [first.body.id]))[0]).toEqual({
      upload_id: kept!.uploadId,
    });
    for (const other of others) await expect(other.uploadPart(1, "x")).rejects.toThrow("does not exist");
    expect(others).toHaveLength(1);
    expect((await tenant.get("/v1/files")).body.data).toHaveLength(1);
    expect((await send(tenant, first.body.id, 1, "hello")).status).toBe(200);
    expect((await tenant.post(`/v1/files/${first.body.id}/complete`, {})).status).toBe(200);
  });

  it("takes no part but those announced, of their sizes and with their hashes", async () => {
    const tenant = await newTenant();
    const { id } = await begin(tenant, 5);
    const simple = await uploaded(tenant);

    expectProblem(await send(tenant, id, 1, "hell"), 422, "invalid_request", "header.Content-Length");
    expectProblem(await send(tenant, id, 2, "hello"), 422, "invalid_request", "path.number");
    expectProblem(await send(tenant, id, 0, "hello"), 422, "invalid_request", "path.number");
    expectProblem(
      await send(tenant, id, 1, "hello", { "Parley-Sha256": "0".repeat(64) }),
      422,
      "invalid_request",
      "header.Parley-Sha256",
    );
    expectProblem(await send(tenant, simple.id, 1, "hello"), 409, "conflict");
    expectProblem(await tenant.post(`/v1/files/${id}/complete`, {}), 409, "conflict");
    expectProblem(await tenant.get(`/v1/files/${id}/parts?cursor=x`), 400, "invalid_cursor");
    expect((await tenant.get(`/v1/files/${id}/parts`)).body).toEqual({ data: [], nextCursor: null });
  });

  it("with another hash than announced, or given up, leaves nothing behind", async () => {
    const tenant = await newTenant();
    const [wrong, given] = [await begin(tenant, 5), await begin(tenant, 5)];
    for (const { id } of [wrong, given]) await send(tenant, id, 1, "hello");

    expectProblem(
      await tenant.post(`/v1/files/${wrong.id}/complete`, { sha256: "0".repeat(64) }),
      422,
      "invalid_request",
      "sha256",
    );
    expect((await tenant.delete(`/v1/files/${given.id}`)).status).toBe(204);

    expect((await tenant.get("/v1/files")).body.data).toMatchObject([{ id: wrong.id, status: "failed", size: 0 }]);
    expect(await objectsOf(tenant.id)).toEqual([]);
    expect(await storageOf(tenant)).toBe(0);
    expectProblem(await send(tenant, wrong.id, 1, "hello"), 409, "conflict");
  });
});
