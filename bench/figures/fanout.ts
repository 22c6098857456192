import { atLeast, atMost, type Bench } from "../figure.ts";
import { median } from "../load.ts";
import { type At, type Fanout, openSockets } from "../sockets/client.ts";
import { newTenant, type Stack } from "../stack.ts";

const WATCHERS = 1_000;
/** Few enough watchers to a user for each to stay within what one may say. */
const USERS = 100;
const ROUNDS = 3;
const SECONDS = 4;
/** So long that the floor carries the bytes of an event. */
const EVENT_BYTES = 760;
const TEXT_BYTES = 20;

type Pair = { mine: Fanout; theirs: Fanout };

/** Messages to a thousand watchers, against objects that know nothing but their sockets. */
export const fanout: Bench = {
  names: ["fanout_1000x20_p99_vs_floor", "fanout_1000x200_vs_floor"],
  async measure(stack) {
    const mine = await openSockets("parley", await watchersOf(stack));
    await stack.analyze();
    const calm = await measured(stack, mine, "echo", 20);
    const busy = await measured(stack, mine, "coalesce", 200);
    await mine.close();
    const p99s = `p99 ${shown(calm, "p99")} ms`;
    const flow = `${shown(busy, "perSecond")} deliveries/s, p99 ${shown(busy, "p99")} ms`;
    return {
      fanout_1000x20_p99_vs_floor: atMost(
        ratio(calm, "p99"),
        2,
        "ratio",
        `${p99s}, ${shown(calm, "perSecond")} deliveries/s`,
      ),
      fanout_1000x200_vs_floor: atLeast(ratio(busy, "perSecond"), 0.5, "ratio", flow),
    };
  },
};

const ratio = (pairs: Pair[], of: "p99" | "perSecond") =>
  median(pairs.map(({ mine, theirs }) => mine[of] / theirs[of]));
const shown = (pairs: Pair[], of: "p99" | "perSecond") => {
  const middle = (side: keyof Pair) => Math.round(median(pairs.map((pair) => pair[side][of]))).toLocaleString("en");
  return `${middle("mine")} against ${middle("theirs")}`;
};

type Sockets = Awaited<ReturnType<typeof openSockets>>;

/** One against the other in turn, after a warm-up; whatever is lost or out of order ends the run. */
async function measured(stack: Stack, mine: Sockets, floor: string, perSecond: number): Promise<Pair[]> {
  const at = { url: new URL(`/objects/${floor}`, stack.floor).href.replace("http", "ws"), headers: {} };
  const theirs = await openSockets(
    "echo",
    Array.from({ length: WATCHERS }, () => at),
  );
  const pairs: Pair[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const pair = {
      mine: await mine.run(perSecond, SECONDS, TEXT_BYTES),
      theirs: await theirs.run(perSecond, SECONDS, EVENT_BYTES),
    };
    const { lost, disordered } = pair.mine;
    if (lost + disordered > 0) throw new Error(`At ${perSecond}/s ${lost} were lost and ${disordered} out of order.`);
    if (round >= 0) pairs.push(pair);
  }
  await theirs.close();
  return pairs;
}

async function watchersOf(stack: Stack): Promise<At[]> {
  const tenant = await newTenant(stack);
  const headers = { Authorization: `Bearer ${tenant.key}`, "Content-Type": "application/json" };
  const call = async <T>(path: string, body: unknown): Promise<T> => {
    const response = await fetch(new URL(path, stack.worker), { method: "POST", headers, body: JSON.stringify(body) });
    if (response.status >= 300) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  const users: string[] = [];
  for (let n = 0; n < USERS; n++)
    users.push((await call<{ id: string }>("/v1/users", { displayName: `User ${n}` })).id);
  const members = users.map((userId) => ({ userId }));
  const { id } = await call<{ id: string }>("/v1/channels", { members });
  const url = new URL(`/v1/channels/${id}/connect`, stack.worker).href;
  return Array.from({ length: WATCHERS }, (_, n) => ({
    url,
    headers: { Authorization: `Bearer ${tenant.key}`, "Parley-User": users[n % USERS]! },
  }));
}
