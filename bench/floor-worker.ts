import { DurableObject } from "cloudflare:workers";
import { neon, neonConfig } from "@neondatabase/serverless";
import { Hono } from "hono";
import PostalMime from "postal-mime";
import { announceJobs, type DueJob } from "../src/lib/job.ts";

type Env = {
  OWNER_DATABASE_URL: string;
  DATABASE_ENDPOINT: string;
  FILES: R2Bucket;
  WEBHOOKS: Queue;
  JOBS: Queue;
  INBOUND: Queue;
  ECHO: DurableObjectNamespace<Echo>;
  COALESCE: DurableObjectNamespace<Echo>;
};

/** What the same answers cost with nothing around them: bare Hono and one raw query of the driver. */
const app = new Hono<{ Bindings: Env }>();

let client: ReturnType<typeof neon<false, true>> | undefined;
function query(env: Env, text: string, params: unknown[]) {
  neonConfig.fetchEndpoint = () => env.DATABASE_ENDPOINT;
  client ??= neon(env.OWNER_DATABASE_URL, { fullResults: true });
  return client.query(text, params);
}

const COLUMNS = `id, external_id as "externalId", username, display_name as "displayName", avatar_url as "avatarUrl", bio, email, type, role,
  metadata, deactivated_at as "deactivatedAt", last_seen_at as "lastSeenAt", created_at as "createdAt", updated_at as "updatedAt"`;

app.get("/users/:tenant", async (c) => {
  const { rows } = await query(
    c.env,
    `select ${COLUMNS}, coalesce((select jsonb_agg(m.team_id) from team_members m where m.tenant_id = u.tenant_id and m.user_id = u.id), '[]') as "teamIds"
       from users u where tenant_id = $1 order by id desc limit 51`,
    [c.req.param("tenant")],
  );
  return c.json({ data: rows.slice(0, 50), nextCursor: rows.length > 50 ? rows[49]!.id : null });
});

app.get("/channels/:tenant/:user", async (c) => {
  const { rows } = await query(
    c.env,
    `select to_jsonb(c) as channel, s.last_seq, s.last_message_at,
        (select message_json(m, cm.user_id) from messages m where m.tenant_id = c.tenant_id and m.channel_id = c.id order by m.seq desc limit 1) as "lastMessage",
        (select count(*) from channel_members x where x.tenant_id = c.tenant_id and x.channel_id = c.id) as "memberCount",
        (select jsonb_agg(p) from (select x.user_id, x.role, u.display_name, u.avatar_url from channel_members x
            join users u on u.tenant_id = x.tenant_id and u.id = x.user_id
           where x.tenant_id = c.tenant_id and x.channel_id = c.id order by x.joined_at limit 10) p) as members,
        to_jsonb(cm) as own, (select count(*) from (select 1 from messages m where m.tenant_id = c.tenant_id and m.channel_id = c.id
            and m.ordinal > cm.read_ordinal and m.user_id <> cm.user_id limit 1001) y) as unread
      from channel_members cm join channels c on c.tenant_id = cm.tenant_id and c.id = cm.channel_id
        join streams s on s.tenant_id = c.tenant_id and s.kind = 'channel' and s.id = c.id
     where cm.tenant_id = $1 and cm.user_id = $2 order by s.last_message_at desc, c.id desc limit 51`,
    [c.req.param("tenant"), c.req.param("user")],
  );
  return c.json({ data: rows.slice(0, 50), nextCursor: null });
});

/** A page of events as JSON that the database has ready. */
app.get("/events/:tenant/:channel", async (c) => {
  const { rows } = await query(
    c.env,
    `select '{"events":[' || string_agg(e.payload, ',' order by e.seq) || ']}' as page from (select seq, payload from events
      where tenant_id = $1 and stream_kind = 'channel' and stream_id = $2 order by seq limit 1000) e`,
    [c.req.param("tenant"), c.req.param("channel")],
  );
  return c.body(rows[0]!.page as string, 200, { "Content-Type": "application/json" });
});

app.post("/teams/:tenant", async (c) => {
  const { name } = await c.req.json<{ name: string }>();
  const { rows } = await query(
    c.env,
    "insert into teams (tenant_id, id, name) values ($1, $2, $3) returning id, name, metadata, created_at, updated_at",
    [c.req.param("tenant"), crypto.randomUUID(), name],
  );
  return c.json(rows[0], 201);
});

app.post("/messages/:tenant/:channel/:user", async (c) => {
  const { text } = await c.req.json<{ text: string }>();
  const { rows } = await query(
    c.env,
    "insert into messages (tenant_id, id, channel_id, user_id, text) values ($1, $2, $3, $4, $5) returning id, text, created_at",
    [c.req.param("tenant"), crypto.randomUUID(), c.req.param("channel"), c.req.param("user"), text],
  );
  return c.json(rows[0], 201);
});

/** A mail that goes out: kept, and one row. */
app.post("/mails/:tenant/:channel/:user", async (c) => {
  const { tenant, channel, user } = c.req.param();
  const { text } = await c.req.json<{ text: string }>();
  await c.env.FILES.put(crypto.randomUUID(), text);
  const { rows } = await query(
    c.env,
    "insert into messages (tenant_id, id, channel_id, user_id, text) values ($1, $2, $3, $4, $5) returning id, text, created_at",
    [tenant, crypto.randomUUID(), channel, user, text],
  );
  return c.json(rows[0], 201);
});

/** Mails that came in: read by postal-mime, six at a time, and a row of each. */
app.post("/inbound/:tenant/:channel", async (c) => {
  const keys = (await c.req.json<string[]>()).values();
  const worker = async () => {
    for (const key of keys) {
      const mail = await PostalMime.parse(await (await c.env.FILES.get(key))!.arrayBuffer());
      await query(
        c.env,
        "insert into messages (tenant_id, id, channel_id, text, metadata) values ($1, $2, $3, $4, $5)",
        [
          ...[c.req.param("tenant"), crypto.randomUUID(), c.req.param("channel"), mail.text ?? ""],
          JSON.stringify({ subject: mail.subject }),
        ],
      );
    }
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return c.body(null, 204);
});

app.put("/files/:key", async (c) => {
  await c.env.FILES.put(c.req.param("key"), c.req.raw.body);
  return c.body(null, 204);
});

/** Not a floor: puts deliveries on the queue as a request does after its commit, one message for each. */
app.post("/queue", async (c) => {
  const places = await c.req.json<{ tenantId: string; id: string }[]>();
  const messages = places.map(({ tenantId, id }) => ({ body: { tenantId, deliveryIds: [id] } }));
  for (let i = 0; i < messages.length; i += 100) await c.env.WEBHOOKS.sendBatch(messages.slice(i, i + 100));
  return c.body(null, 204);
});

/** Nor this: puts received mails on the queue. */
app.post("/inbound", async (c) => {
  const bodies = await c.req.json<{ tenantId: string; rawId: string }[]>();
  for (let i = 0; i < bodies.length; i += 100)
    await c.env.INBOUND.sendBatch(bodies.slice(i, i + 100).map((body) => ({ body })));
  return c.body(null, 204);
});

/** Nor is this one: announces jobs as whoever schedules them does after the commit. */
app.post("/jobs", async (c) => {
  await announceJobs(c.env as never, await c.req.json<DueJob[]>());
  return c.body(null, 204);
});

/** Posts a body so many times, six at a time: a Worker's connections kept busy with nothing around them. */
app.post("/deliveries", async (c) => {
  const { url, count, body } = await c.req.json<{ url: string; count: number; body: string }>();
  let left = count;
  const worker = async () => {
    while (left-- > 0)
      await (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).text();
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return c.body(null, 204);
});

app.get("/objects/:kind", (c) => {
  const objects = c.req.param("kind") === "echo" ? c.env.ECHO : c.env.COALESCE;
  return objects.getByName("floor").fetch(c.req.raw);
});

/** Says whatever it hears to all of its sockets, and nothing else. */
export class Echo extends DurableObject {
  override fetch(): Response {
    const { 0: client, 1: socket } = new WebSocketPair();
    this.ctx.acceptWebSocket(socket);
    return new Response(null, { status: 101, webSocket: client });
  }

  override webSocketMessage(_: WebSocket, text: string): void {
    this.spread(text);
  }

  protected spread(text: string): void {
    for (const socket of this.ctx.getWebSockets()) socket.send(text);
  }
}

/** The same, with all that it hears within a moment in one frame. */
export class Coalesce extends Echo {
  private heard: string[] = [];

  override webSocketMessage(_: WebSocket, text: string): void {
    if (this.heard.push(text) > 1) return;
    setTimeout(() => {
      this.spread(this.heard.join(" "));
      this.heard = [];
    }, 25);
  }
}

export default app;
