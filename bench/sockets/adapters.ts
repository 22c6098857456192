/** How one kind of server is spoken to over its sockets; whatever comes back is searched for the text itself. */
export type Adapter = {
  /** What a watcher says so that everybody gets this text. */
  say(text: string, n: number): string;
  ping?: string;
  /** How frames begin that answer the sender alone. */
  answer?: string;
};

export const ADAPTERS = {
  parley: {
    say: (text: string, n: number) => JSON.stringify({ id: n, op: "send", message: { text } }),
    ping: '{"type":"ping"}',
    answer: '{"type":"ack"',
  },
  /** Says it again to everybody. */
  echo: { say: (text: string) => text },
} satisfies Record<string, Adapter>;
