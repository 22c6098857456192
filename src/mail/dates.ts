import { unfold } from "./headers";

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const ZONES: Record<string, number> = {
  ut: 0,
  utc: 0,
  gmt: 0,
  z: 0,
  est: -300,
  edt: -240,
  cst: -360,
  cdt: -300,
  mst: -420,
  mdt: -360,
  pst: -480,
  pdt: -420,
  bst: 60,
  cet: 60,
  cest: 120,
  met: 60,
  mest: 120,
  eet: 120,
  eest: 180,
  msk: 180,
  jst: 540,
};

const DATE =
  /(\d{1,2})[\s-]+([a-z]{3})[a-z]*\.?[\s-]+(\d{2,4})(?:,?\s+(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:[.,]\d+)?)?\s*(am|pm)?\s*(?:(?:gmt|utc)?([+-]\d{1,2}):?(\d{2})|([a-z]{1,4}))?/i;

/** RFC 5322 with its obsolete and its plainly wrong forms, as ISO 8601 in UTC. */
export function readDate(raw: string | undefined): string | null {
  if (raw === undefined) return null;
  const line = unfold(raw)
    .replace(/\([^()]*\)/g, " ")
    .slice(0, 200);
  const found = DATE.exec(line);
  return (found && fromParts(found)) ?? fromText(line);
}

function fromParts([, day, name, year, hour, minute, second, half, offset, offsetMinutes, zone]: RegExpExecArray) {
  const month = MONTHS.indexOf(name!.toLowerCase());
  if (month < 0) return null;
  const full = year!.length === 4 ? Number(year) : Number(year) + (Number(year) < 50 ? 2000 : 1900);
  const hours = (Number(hour ?? 0) % (half ? 12 : 24)) + (/pm/i.test(half ?? "") ? 12 : 0);
  const east = offset
    ? (offset.startsWith("-") ? -1 : 1) * (Math.abs(Number(offset)) * 60 + Number(offsetMinutes))
    : (ZONES[zone?.toLowerCase() ?? ""] ?? 0);
  return iso(Date.UTC(full, month, Number(day), hours, Number(minute ?? 0) - east, Math.min(Number(second ?? 0), 59)));
}

/** ISO 8601 and ctime, which scripts write. */
function fromText(line: string): string | null {
  return iso(Date.parse(/[+-]\d\d:?\d\d|Z|[A-Z]{3}\s*$/.test(line) ? line : `${line} UTC`));
}

function iso(time: number): string | null {
  const date = new Date(time);
  const year = date.getUTCFullYear();
  return Number.isNaN(time) || year < 1970 || year > 2200 ? null : date.toISOString();
}
