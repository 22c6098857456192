import { beforeAll, describe, expect, it } from "vitest";
import { client, expectProblem, newTenant, type Tenant } from "./helpers";
import { connect, newPerson, newRoom, type Person, textsOf } from "./live";
import { send } from "./prepared";
import { givenFor } from "./samples";
import { type Operation, readOperations, sampleCall } from "./spec";

const operations = await readOperations();

/** Of what is no GET: a ticket for a socket, and what was missed, are asked for to read. */
const READS = ["buyTicket", "syncStreams"];
const writes = ({ id, method, scope }: Operation) =>
  method !== "GET" && !["public", "deployment:admin", "users:guest"].includes(scope) && !READS.includes(id);

let tenant: Tenant;
let member: Person;
/** With all that a role can bring, and a member of the private channel. */
let reader: Person;
let open: string;
let secret: string;
let invited: string;

beforeAll(async () => {
  tenant = await newTenant();
  member = await newPerson(tenant);
  reader = await newPerson(tenant, { type: "anonymous", role: "admin" });
  open = await newRoom(tenant, [member], { settings: { public: true } });
  secret = await newRoom(tenant, [member, reader]);
  invited = await newRoom(tenant, [member]);
  await tenant.post(`/v1/channels/${invited}/invitations`, { userId: reader.id });
  for (const id of [open, secret, invited]) await member.post(`/v1/channels/${id}/messages`, { text: "unmistakable" });
});

describe("an anonymous user", () => {
  it.each(operations.filter(writes))("may not: $id", async (operation) => {
    const given = await givenFor(operation.id, tenant, "");

    const answer = await send(
      reader,
      sampleCall(operation, () => crypto.randomUUID(), undefined, given),
    );

    expectProblem(answer, 403, "anonymous_reads_only");
  });

  it("may not be acted for by a key either", async () => {
    const as = { as: reader.id };
    expectProblem(await tenant.post(`/v1/channels/${open}/messages`, { text: "Hi" }, as), 403, "anonymous_reads_only");
    expect((await tenant.get(`/v1/channels/${open}`, as)).status).toBe(200);
  });

  it("reads public channels", async () => {
    expect((await reader.get(`/v1/channels/${open}`)).status).toBe(200);
    expect((await reader.get(`/v1/channels/${open}/messages`)).body.data).toHaveLength(1);
    const listed = (await reader.get("/v1/channels")).body.data.map(({ id }: { id: string }) => id);
    expect(listed.filter((id: string) => id !== open)).toEqual([]);
  });

  it.each([
    ["member", () => secret],
    ["invitee", () => invited],
  ])("reads no private channel as its %s", async (_, channel) => {
    const id = channel();
    const messageId = (await tenant.get(`/v1/channels/${id}/messages`)).body.data[0].id;

    for (const path of [
      `/channels/${id}`,
      `/channels/${id}/messages`,
      `/channels/${id}/members`,
      `/messages/${messageId}`,
    ])
      expectProblem(await reader.get(`/v1${path}`), 404, "not_found");
    expect(JSON.stringify((await reader.get("/v1/search/messages?q=unmistakable")).body.data)).not.toContain(id);
    const synced = await reader.post("/v1/sync", { cursors: { [id]: 0, [open]: 0 } });
    expect(synced.body.streams[id]).toEqual({ error: "not_found" });
    expect(synced.body.streams[open].events.length).toBeGreaterThan(0);
    await expect(reader.watch(id)).rejects.toMatchObject({ status: 404 });
  });

  it("watches a public channel by ticket, and says nothing there", async () => {
    const { ticket } = (await reader.post("/v1/tickets", {})).body;
    const socket = await connect(`/v1/channels/${open}/connect?ticket=${ticket}`, {});

    const answer = await socket.ask({ op: "send", message: { text: "from nobody" } });
    await member.post(`/v1/channels/${open}/messages`, { text: "to all" });
    await socket.until(({ type }) => type === "message.new");

    expect(answer).toMatchObject({ type: "nack", code: "anonymous_reads_only" });
    expect(textsOf(socket.frames)).toEqual(["to all"]);
    socket.close();
  });
});

it("a guest writes where an anonymous user does not", async () => {
  const key = await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] });
  const as = async (type: string) => client((await client(key.body.secret).post("/v1/guests", { type })).body.token);
  const [guest, anonymous] = [await as("guest"), await as("anonymous")];

  const join = (who: typeof guest) => who.post(`/v1/channels/${open}/join`, {});

  expect((await join(guest)).status).toBeLessThan(300);
  expectProblem(await join(anonymous), 403, "anonymous_reads_only");
});
