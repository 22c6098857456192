/** A mail as far as joining goes: every id by which it may belong to another, its own among them. */
export type Joined = { key: string; ids: readonly string[] };

/**
 * Which mails of an inbox are of one conversation: those that share an id, directly or through others, whether the mail
 * with that id was ever seen or not. So it does not matter in which order they come. A subject alone joins nothing.
 */
export function conversations(mails: readonly Joined[]): string[][] {
  const parents = new Map<string, string>();
  const rootOf = (name: string): string => {
    let root = name;
    for (let next = parents.get(root); next !== undefined; next = parents.get(root)) root = next;
    for (let at = name; at !== root; ) {
      const next = parents.get(at)!;
      parents.set(at, root);
      at = next;
    }
    return root;
  };
  const join = (a: string, b: string): void => {
    const [one, other] = [rootOf(a), rootOf(b)];
    if (one !== other) parents.set(one, other);
  };
  for (const { key, ids } of mails) for (const id of ids) join(`mail ${key}`, `id ${id}`);
  return [...Map.groupBy(mails, ({ key }) => rootOf(`mail ${key}`)).values()].map((group) =>
    group.map(({ key }) => key),
  );
}

export type Reference = {
  id: string;
  kind: "own" | "token" | "in_reply_to" | "reference" | "returned";
  position: number;
};

/** A mail may name thousands; the first ones begin its conversation, the last ones are the nearest. */
const MOST = 100;
const LONGEST = 500;

type Names = {
  messageId: string;
  inReplyTo: string | null;
  references: readonly string[];
  /** Of the mail that a report gives back. */
  returned: string | null;
  /** Of the message whose signed address the mail was sent to. */
  token: string | null;
};

/** All ids by which a mail may belong to another, each once. */
export function referencesOf({ messageId, inReplyTo, references, returned, token }: Names): Reference[] {
  const named =
    references.length <= MOST ? references : [...references.slice(0, MOST / 2), ...references.slice(-MOST / 2)];
  const all: [string | null, Reference["kind"]][] = [
    [messageId, "own"],
    [token, "token"],
    [inReplyTo, "in_reply_to"],
    [returned, "returned"],
    ...named.map((id): [string, Reference["kind"]] => [id, "reference"]),
  ];
  const seen = new Set<string>();
  return all.flatMap(([given, kind], position) => {
    const id = given?.slice(0, LONGEST).toWellFormed().replaceAll("\0", "");
    if (!id || seen.has(id)) return [];
    seen.add(id);
    return [{ id, kind, position }];
  });
}
