import fc from "fast-check";
import { expect, it } from "vitest";
import { isoOf } from "../src/lib/columns";

const two = (n: number) => String(n).padStart(2, "0");

/** As PostgreSQL writes a moment in a time zone: no zeros at the end of a fraction, minutes of the zone where it has some. */
function written(ms: number, micros: number, zone: number): string {
  const [day, time] = new Date(ms + zone * 60_000).toISOString().split(/T|\./);
  const fraction = `${String(ms % 1000).padStart(3, "0")}${String(micros).padStart(3, "0")}`.replace(/0+$/, "");
  const away = Math.abs(zone);
  const offset = `${zone < 0 ? "-" : "+"}${two(Math.floor(away / 60))}${away % 60 ? `:${two(away % 60)}` : ""}`;
  return `${day} ${time}${fraction && `.${fraction}`}${offset}`;
}

it("a moment is shown in UTC to the millisecond, whatever the zone of the session", () => {
  const moment = fc.integer({ min: 0, max: Date.parse("2200-01-01") });
  const zone = fc.oneof(
    fc.constant(0),
    fc.integer({ min: -48, max: 56 }).map((quarters) => quarters * 15),
  );
  fc.assert(
    fc.property(moment, fc.integer({ min: 0, max: 999 }), zone, (ms, micros, minutes) => {
      expect(isoOf(written(ms, micros, minutes))).toBe(new Date(ms).toISOString());
    }),
    { numRuns: 1000 },
  );
});

it("what is ISO already, or no moment of this calendar, stays as it is", () => {
  for (const text of ["2026-11-28T03:18:28.123Z", "infinity"]) expect(isoOf(text)).toBe(text);
});
