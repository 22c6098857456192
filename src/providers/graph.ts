import { withBase64 } from "./base64";
import { emailOf } from "./email";
import { ask, config, credentials, MOST_BYTES, refusalOf } from "./graph-api";
import { sendAsDraft } from "./graph-draft";
import { BadCallback, type Group, type Provider } from "./provider";
import { withRecipients } from "./recipient-headers";

/** Microsoft Graph, as the user of an Outlook account. It takes the recipients out of the mail's own headers. */
export const graph = {
  name: "graph",
  media: ["email"],
  config,
  credentials,
  together: true,

  async send(outgoing, account, io) {
    const mail = await outgoing[0].mail();
    // Not a copy of what is too large anyway.
    const whole = mail.length > MOST_BYTES ? mail : withRecipients(mail, recipientsOf(outgoing));
    if (4 * Math.ceil(whole.length / 3) > MOST_BYTES) return sendAsDraft(outgoing, mail, account, io);
    const init = { method: "POST", headers: { "Content-Type": "text/plain" }, body: withBase64("", whole, "") };
    const answer = await ask(account, io, "me/sendMail", init);
    if (!answer.ok) throw await refusalOf(answer);
    return { providerMessageId: outgoing[0].id };
  },

  async readCallback() {
    throw new BadCallback("Microsoft Graph does not call back: bounces come by mail.");
  },

  async check(account, io) {
    try {
      const answer = await ask(account, io, "me");
      return answer.ok ? { ok: true, detail: null } : { ok: false, detail: (await refusalOf(answer)).message };
    } catch (error) {
      return { ok: false, detail: error instanceof Error ? error.message : "Microsoft could not be asked." };
    }
  },
} satisfies Provider<typeof config, typeof credentials>;

function recipientsOf(outgoing: Group) {
  const of = (kind: string) => outgoing.filter((one) => emailOf(one).kind === kind).map(({ recipient }) => recipient);
  return { to: of("to"), cc: of("cc"), bcc: of("bcc") };
}
