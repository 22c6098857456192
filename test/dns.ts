import { vi } from "vitest";

type Answer = { type: string; data: string };
const TYPES: Record<string, number> = { CNAME: 5, MX: 15, TXT: 16 };

const real = globalThis.fetch;

/** What the resolver of the tests says of each name; to "down" it does not answer. */
export function newResolver() {
  const zone = new Map<string, Answer[] | "down">();
  const questions: string[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : String(input));
    if (url.pathname !== "/dns-query") return real(input, init);
    const [name, type] = [url.searchParams.get("name")!, url.searchParams.get("type")!];
    questions.push(`${name} ${type}`);
    const known = zone.get(name) ?? [];
    if (known === "down") return new Response("", { status: 502 });
    const records = known.filter((one) => one.type === type);
    return Response.json({
      Status: known.length > 0 ? 0 : 3,
      Answer: records.map(({ data }) => ({ name, type: TYPES[type], TTL: 0, data })),
    });
  });
  return { zone, questions };
}

type Wanted = { name: string; type: string; expected: string; priority: number | null };

/** Everything that a domain's own records ask for. */
export function publish(zone: Map<string, Answer[] | "down">, records: readonly Wanted[]): void {
  for (const { name, type, expected, priority } of records) {
    const before = zone.get(name);
    const data = type === "MX" ? `${priority} ${expected}.` : type === "TXT" ? `"${expected}"` : `${expected}.`;
    zone.set(name, [...(Array.isArray(before) ? before : []), { type, data }]);
  }
}
