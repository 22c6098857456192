import { COMMANDS, FRAMES, MOST_FRAME_BYTES, PAGE_EVENTS, PING, PING_SECONDS } from "./protocol";

const PROTOCOL = `A frame is one of those below, or an **event**, which looks as it does in webhooks: \`{ id, type, timestamp, stream, seq, data }\`. Several may come in one array.

- \`seq\` has no gaps in its stream, and events come in its order: a number is an event, or lies in the range of a \`skip\` or a \`gap\`. Keep the last number of each stream; what is not
  above it you have already. The order and the numbers are those of \`POST /v1/sync\` and of webhooks.
- After a drop connect with \`?after=\` the last number of the channel: what was missed comes first, in pages of at most 1 MiB or ${PAGE_EVENTS} events. On a user's own socket send \`resume\`
  with the numbers of all streams. There is no horizon: what is older than the plan keeps events is told as a \`gap\`.
- A command has an \`id\` and gets an \`ack\` or a \`nack\` with the same. The \`ack\` of a send comes after it is stored; repeat a send without an answer under the same \`clientId\`.
- Send the text \`${PING}\`, exactly so, every ${PING_SECONDS} seconds. Who says nothing at all is taken for gone, and is offline to others within 45 seconds; a drop of less than 15 shows nobody a flap.
- A command may take ${MOST_FRAME_BYTES / 1024} KiB. A user may say 40 things at once and 10 a second to one channel; \`nack\` with \`rate_limited\` says when to go on, and who does not stop is closed.
- Before the server closes a socket it says \`bye\`, with a code: \`token_revoked\`, \`key_revoked\`, \`credential_expired\`, \`user_deactivated\`, \`tenant_suspended\`, \`banned\`, \`not_a_member\`, \`teams_changed\`,
  \`channel_deleted\`, \`session_ended\`, \`rate_limited\`, \`silent\` or \`unavailable\`. Nothing comes after it. A socket that closes without one was cut off, as by every release: connect again.`;

const rows = (schemas: typeof COMMANDS | typeof FRAMES): string =>
  Object.entries(schemas)
    .map(([name, schema]) => `| \`${name}\` | ${schema.description ?? ""} |`)
    .join("\n");

/** How sockets are spoken; what is said over them stands as schemas with the operations that open them. */
export const aboutSockets = (): string => `## Sockets

\`GET /v1/channels/{id}/connect\` watches a channel, \`GET /v1/connect\` is a user's own: what is addressed to them, and hints at news in channels
that they do not watch. Both are WebSockets of JSON text, let in by a credential in the header, or by a ticket of \`POST /v1/tickets\` where no header can be sent.

${PROTOCOL}

| command | |
|---|---|
${rows(COMMANDS)}

| frame | |
|---|---|
${rows(FRAMES)}
`;
