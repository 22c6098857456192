import { type LookupOptions, lookup } from "../lib/doh";
import type { Identity } from "../providers/provider";
import type { RECORD_PURPOSES, RECORD_TYPES } from "./schema";

export type Purpose = (typeof RECORD_PURPOSES)[number];
type RecordType = (typeof RECORD_TYPES)[number];
export type Wanted = {
  purpose: Purpose;
  type: RecordType;
  name: string;
  expected: string;
  priority: number | null;
};
export type Judged = { found: string[]; ok: boolean; todo: string | null };

const PROOF = "parley-domain=";

/** All that is to stand in the DNS of a domain: the proof of its owner, where its mail goes, and who may send for it. */
export function recordsFor(domain: string, proof: string, mxHosts: string, { records }: Identity): Wanted[] {
  const mechanisms = records.flatMap((record) => (record.purpose === "spf" ? [record.mechanism] : []));
  const plain = { priority: null };
  return [
    { ...plain, purpose: "proof", type: "TXT", name: `_parley.${domain}`, expected: PROOF + proof },
    ...mxHosts
      .split(/\s+/)
      .filter(Boolean)
      .map((host, i): Wanted => ({ purpose: "mx", type: "MX", name: domain, expected: host, priority: 10 * (i + 1) })),
    { ...plain, purpose: "spf", type: "TXT", name: domain, expected: ["v=spf1", ...mechanisms, "~all"].join(" ") },
    ...records.flatMap((record): Wanted[] =>
      record.purpose === "dkim"
        ? [{ ...plain, purpose: "dkim", type: record.type, name: record.name, expected: record.value }]
        : [],
    ),
    ...records.flatMap((record): Wanted[] => {
      if (record.purpose !== "return_path") return [];
      const { purpose, type, name, value: expected } = record;
      return [{ purpose, type, name, expected, priority: record.type === "MX" ? record.priority : null }];
    }),
    { ...plain, purpose: "dmarc", type: "TXT", name: `_dmarc.${domain}`, expected: "v=DMARC1; p=none" },
  ];
}

/** Asks for each name once. Throws a DnsError where a question stays without an answer. */
export async function lookUpAll(wanted: readonly Wanted[], options: LookupOptions): Promise<Map<string, string[]>> {
  const questions = new Map(wanted.map((record) => [questionOf(record), record]));
  const answers = [...questions].map(async ([question, { name, type }]): Promise<[string, string[]]> => {
    const found = await lookup(name, type, options);
    return [question, found.map(({ data }) => data)];
  });
  return new Map(await Promise.all(answers));
}

const questionOf = ({ name, type }: Pick<Wanted, "name" | "type">) => `${type} ${name}`;

export const judge = (wanted: Wanted, answers: Map<string, string[]>): Judged =>
  JUDGES[wanted.purpose](wanted, answers.get(questionOf(wanted)) ?? []);

const JUDGES: Record<Purpose, (wanted: Wanted, found: string[]) => Judged> = {
  proof: present((text) => text.startsWith(PROOF)),
  mx: present(() => true),
  dkim: present(() => true),
  return_path: present(() => true),
  spf: judgeSpf,
  dmarc: judgeDmarc,
};

const right = (found: string[]): Judged => ({ found, ok: true, todo: null });
const wrong = (found: string[], todo: string): Judged => ({ found, ok: false, todo });

const add = ({ type, name, expected, priority }: Wanted) =>
  `Add the ${type} record ${name} with ${priority === null ? "" : `priority ${priority} and `}the value "${expected}".`;

/** Must be among what stands there. Of a TXT only what looks like it is shown. */
function present(isAlike: (text: string) => boolean) {
  return (wanted: Wanted, all: string[]): Judged => {
    const found = all.filter(isAlike);
    if (found.includes(wanted.expected)) return right(found);
    if (wanted.type === "CNAME" && found.length > 0)
      return wrong(found, `Change the CNAME record ${wanted.name} from "${found[0]}" to "${wanted.expected}".`);
    return wrong(found, add(wanted));
  };
}

/** There may be one SPF record alone, so a mechanism that lacks goes into the one that is there. */
function judgeSpf(wanted: Wanted, all: string[]): Judged {
  const found = all.filter((text) => /^v=spf1(\s|$)/i.test(text));
  const [own] = found;
  if (own === undefined) return wrong(found, add(wanted));
  if (found.length > 1)
    return wrong(found, `There are ${found.length} SPF records, which makes all of them void: join them into one.`);
  const terms = own.toLowerCase().split(/\s+/);
  const lacking = wanted.expected.split(" ").filter((term) => term.includes(":") && !terms.includes(term));
  if (terms.includes("+all") || terms.includes("all"))
    return wrong(found, `It lets everybody send. End it with "~all": "${own.replace(/\s\+?all\b/i, " ~all")}".`);
  if (lacking.length === 0) return right(found);
  const at = own.search(/\s[-~?]all\b/i);
  const mended = at < 0 ? `${own} ${lacking.join(" ")}` : `${own.slice(0, at)} ${lacking.join(" ")}${own.slice(at)}`;
  return wrong(found, `Change the TXT record ${wanted.name} from "${own}" to "${mended}".`);
}

/** Any policy will do, as long as it is one. */
function judgeDmarc(wanted: Wanted, all: string[]): Judged {
  const found = all.filter((text) => /^v=DMARC1\s*(;|$)/.test(text));
  if (found.length === 0) return wrong(found, add(wanted));
  if (found.length > 1) return wrong(found, "There are several DMARC records, which makes all of them void: keep one.");
  return /;\s*p\s*=\s*(none|quarantine|reject)\s*(;|$)/i.test(found[0]!)
    ? right(found)
    : wrong(found, `It names no policy: add "p=none", or a stricter one.`);
}

/** Of several mail exchangers one suffices; of everything else each record is needed. */
export function holds(purpose: Purpose, records: readonly { purpose: Purpose; ok: boolean }[]): boolean {
  const own = records.filter((record) => record.purpose === purpose);
  return purpose === "mx" ? own.some(({ ok }) => ok) : own.length > 0 && own.every(({ ok }) => ok);
}
