import { describe, expect, it } from "vitest";
import { eventually } from "./jobs";
import { newPost } from "./mail";
import { answer, conversation, deliveriesOf, later, made, newAddress, rawOf, send } from "./mailing";
import { betweenDatabase } from "./outbound";
import { asOwner } from "./setup/owner";

/** When it is sent, as it was recorded. */
const sent = (messageId: string) =>
  eventually(async () => {
    const rows = await deliveriesOf(messageId);
    expect(rows).not.toEqual([]);
    return rows;
  });

describe("a scheduled mail is sent at its time", () => {
  it("though what its inbox bears has changed since this isolate looked", async () => {
    const own = await newPost({ name: "Before" });
    await made(send(own, { to: [newAddress()], text: "now" }));
    const message = await made(send(own, { to: [newAddress()], text: "later", sendAt: later(1_500) }));
    await asOwner("update inboxes set name = 'After' where id = $1", [own.inbox.id]);

    await sent(message.id);

    expect((await rawOf(own, message.id)).from?.name).toBe("After");
  });

  it("in the conversation that its own is merged into while it is being sent", async () => {
    const own = await newPost();
    const [one, other] = [await conversation(own), await conversation(own)];
    const message = await made(answer(own, one.channelId, { mode: "reply", text: "a", sendAt: later(1_500) }));
    let isMerged = false;

    const [delivery] = await betweenDatabase(
      async ({ queries, send: ask }) => {
        if (queries.includes("record_outbound") && !isMerged) {
          isMerged = true;
          const ids = [own.tenant.id, one.channelId, other.channelId];
          await asOwner(
            "update messages set channel_id = $3 where tenant_id = $1 and channel_id = $2 and seq is null",
            ids,
          );
          await asOwner(
            `update messages m set channel_id = $3, seq = s.last_seq + 1, ordinal = null from streams s
              where m.tenant_id = $1 and m.channel_id = $2 and s.tenant_id = $1 and s.id = $3`,
            ids,
          );
          await asOwner("update streams set last_seq = last_seq + 1 where tenant_id = $1 and id = $2", [
            ids[0],
            ids[2],
          ]);
          await asOwner("update channels set merged_into = $3 where tenant_id = $1 and id = $2", ids);
        }
        return ask();
      },
      () => sent(message.id),
    );

    expect(isMerged).toBe(true);
    expect(delivery.channel_id).toBe(other.channelId);
  });
});
