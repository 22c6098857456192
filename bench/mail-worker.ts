import { bouncesOf } from "../src/mail/bounces.ts";
import { readMail } from "../src/mail/read.ts";
import { replyOf } from "../src/mail/reply.ts";

/** Reads the mail it is sent, and does one thing with it as often as asked: a Worker cannot time itself. */
export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const mail = await readMail(new Uint8Array(await request.arrayBuffer()));
    let length = 0;
    for (let i = 0; i < Number(searchParams.get("times")); i++) {
      length += pathname === "/bounce" ? bouncesOf(mail).length : replyOf(mail).text.length;
    }
    return Response.json({ length, sizes: mail.attachments.map(({ size }) => size) });
  },
};
