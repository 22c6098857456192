import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { eachMinute, fireCron } from "./cron.ts";

const asked: string[] = [];
let status = 200;
const worker = createServer((request, response) => {
  asked.push(request.url!);
  response.writeHead(status).end();
});
let port: number;

before(async () => {
  worker.listen(0, "127.0.0.1");
  await once(worker, "listening");
  ({ port } = worker.address() as AddressInfo);
});
after(() => {
  worker.closeAllConnections();
  worker.close();
});

test("the cron fires at once and with each full minute, also after one that failed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 15_000 });
  let fired: Promise<string | null> | undefined;
  const answerAfter = async (milliseconds: number) => {
    t.mock.timers.tick(milliseconds);
    const answer = await fired;
    await turn();
    return answer;
  };

  eachMinute(() => (fired = fireCron(port)));
  assert.equal(await answerAfter(0), null);
  assert.deepEqual(asked, ["/cdn-cgi/local/scheduled?cron=*+*+*+*+*"]);

  await answerAfter(44_999);
  assert.equal(asked.length, 1);
  status = 500;
  assert.equal(await answerAfter(1), "The cron trigger failed: 500");
  assert.equal(asked.length, 2);

  status = 200;
  assert.equal(await answerAfter(60_000), null);
  assert.equal(asked.length, 3);
});

test("a Worker that does not answer is named", async () => {
  assert.equal(await fireCron(1), "The cron trigger failed: no answer");
});
