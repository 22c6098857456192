import { atLeast, atMost, type Bench } from "../figure.ts";
import { type Ask, interleaved, load, median } from "../load.ts";
import { newTenant, type Stack } from "../stack.ts";

const CHANNELS = 10;
const IN_FLIGHT = 50;

/** Sends, alone and many at once, against one raw insert by a bare Worker. */
export const chat: Bench = {
  names: ["db_calls_chat_send", "do_calls_chat_send", "chat_send_vs_floor", "hot_channel_db_calls_per_send"],
  async measure(stack) {
    const tenant = await newTenant(stack);
    const headers = { Authorization: `Bearer ${tenant.key}`, "Content-Type": "application/json" };
    const call = async (path: string, body: unknown) => {
      const response = await fetch(new URL(path, stack.worker), {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      if (response.status !== 201) throw new Error(`${path}: ${response.status} ${await response.text()}`);
      return (await response.json()) as { id: string };
    };
    const user = (await call("/v1/users", { displayName: "Ann" })).id;
    const channels: string[] = [];
    for (let n = 0; n < CHANNELS; n++) {
      channels.push((await call("/v1/channels", { members: [{ userId: user }] })).id);
    }
    let turn = 0;
    const text = JSON.stringify({ text: "Hello, how are you today?" });
    const asUser = { ...headers, "Parley-User": user };
    const send = (among: string[]) => (): Ask => {
      const path = `/v1/channels/${among[turn++ % among.length]}/messages`;
      return { method: "POST", path, headers: asUser, body: text };
    };
    const bare = (): Ask => {
      const path = `/messages/${tenant.id}/${channels[turn++ % CHANNELS]}/${user}`;
      return { method: "POST", path, headers: { "Content-Type": "application/json" }, body: text };
    };

    const per = (base: URL, ask: () => Ask) => async () =>
      (await load(base, ask, { concurrency: IN_FLIGHT, ms: 2500 })).perSecond;
    const sends = await interleaved(per(stack.worker, send(channels)), per(stack.floor, bare), {
      settle: stack.analyze,
    });
    const alone = await callsPerSend(stack, send(channels.slice(0, 1)), 1);
    const hot = await callsPerSend(stack, send(channels.slice(0, 1)), IN_FLIGHT);
    const objects = await objectCalls(stack, send(channels.slice(0, 1)));
    const rates = `${Math.round(sends.mine)}/s against ${Math.round(sends.theirs)}/s`;
    return {
      db_calls_chat_send: atMost(
        Math.round(alone.calls * 100) / 100,
        1,
        "calls",
        `${Math.round(alone.perSecond)}/s, one after the other`,
      ),
      do_calls_chat_send: atMost(
        median(objects),
        1,
        "calls",
        `of ${objects.length} sends the most took ${Math.max(...objects)}, where a lease was renewed meanwhile`,
      ),
      chat_send_vs_floor: atLeast(sends.ratio, 0.5, "ratio", rates),
      hot_channel_db_calls_per_send: atMost(hot.calls, 0.1, "calls", `${Math.round(hot.perSecond)}/s into one channel`),
    };
  },
};

/** What the sends cause in the background is counted with them. */
async function callsPerSend(stack: Stack, ask: () => Ask, concurrency: number) {
  const before = await stack.calls();
  let sent = 0;
  const { perSecond } = await load(
    stack.worker,
    () => {
      sent++;
      return ask();
    },
    { concurrency, ms: 2500 },
  );
  return { calls: ((await stack.calls()) - before) / sent, perSecond };
}

/** Of objects, for each send, once the isolate holds its lease. */
async function objectCalls(stack: Stack, ask: () => Ask): Promise<number[]> {
  const calls: number[] = [];
  for (let n = 0; n < 220; n++) {
    const { path, ...rest } = ask();
    const response = await fetch(new URL(path, stack.counted), rest);
    if (response.status !== 201) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    await response.text();
    if (n >= 20) calls.push(Number(response.headers.get("Object-Calls")));
  }
  return calls;
}
