import { parseArgs } from "node:util";
import type { Bench, Figure } from "./figure.ts";
import { blockLists } from "./figures/block-lists.ts";
import { calls } from "./figures/calls.ts";
import { chat } from "./figures/chat.ts";
import { fanout } from "./figures/fanout.ts";
import { files } from "./figures/files.ts";
import { growth } from "./figures/growth.ts";
import { jobs } from "./figures/jobs.ts";
import { lists } from "./figures/lists.ts";
import { mail } from "./figures/mail.ts";
import { post } from "./figures/post.ts";
import { requests } from "./figures/requests.ts";
import { size } from "./figures/size.ts";
import { webhooks } from "./figures/webhooks.ts";
import { startStack } from "./stack.ts";

const BENCHES: Bench[] = [
  size,
  calls,
  requests,
  webhooks,
  jobs,
  chat,
  fanout,
  files,
  lists,
  mail,
  post,
  growth,
  blockLists,
];

const { values } = parseArgs({ options: { json: { type: "boolean" }, only: { type: "string" } } });
const isWanted = (name: string) => values.only === undefined || name === values.only;
const chosen = BENCHES.filter(({ names }) => names.some(isWanted));
if (chosen.length === 0) {
  console.error(`There is no figure ${values.only}. There are: ${BENCHES.flatMap(({ names }) => names).join(", ")}.`);
  process.exit(1);
}

const stack = await startStack();
const figures: Record<string, Figure> = {};
try {
  for (const bench of chosen) {
    console.error(`measuring ${bench.names.filter(isWanted).join(", ")} …`);
    const measured = Object.entries(await bench.measure(stack));
    Object.assign(figures, Object.fromEntries(measured.filter(([name]) => isWanted(name))));
  }
} finally {
  await stack.stop();
}
const missing = chosen.flatMap(({ names }) => names.filter(isWanted)).filter((name) => !(name in figures));
if (missing.length > 0) throw new Error(`Not measured: ${missing.join(", ")}.`);

if (values.json) console.log(JSON.stringify({ figures }));
else {
  console.log(`\nOn ${stack.server}:\n\n| figure | value | budget | | |\n|---|---|---|---|---|`);
  for (const [name, { value, unit, budget, ok, note = "" }] of Object.entries(figures)) {
    console.log(`| \`${name}\` | ${value} ${unit} | ${budget} | ${ok ? "met" : "MISSED"} | ${note} |`);
  }
}
process.exit(Object.values(figures).every(({ ok }) => ok) ? 0 : 1);
