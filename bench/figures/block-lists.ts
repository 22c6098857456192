import { hitsIn, keyOf, newMatcher } from "../../src/moderation/matcher.ts";
import { atMost, type Bench } from "../figure.ts";

const ENTRIES = 10_000;
const CHARACTERS = 5_000;
const RUNS = 2_000;

/** A long message against a full list, in scripts with and without spaces: the processor's time, garbage collection included. */
export const blockLists: Bench = {
  names: ["block_list_ms"],
  async measure() {
    const entries = Array.from({ length: ENTRIES }, (_, i) => {
      const word = ["word", "слово", "λέξη", "坏词"][i % 4];
      return keyOf("phrase", `${word}${i.toString(36)}${i % 3 === 0 ? " and more" : ""}`) ?? "";
    });
    const list = { id: "1", name: "All", kind: "phrase", action: "mask", everywhere: true, entries } as const;
    const matcher = newMatcher([list]);
    const said = "The quick brown fox jumps over the lazy dog, und слово привет 你好世界 again. ";
    const text = said.repeat(Math.ceil(CHARACTERS / said.length)).slice(0, CHARACTERS);
    const times: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      const before = process.cpuUsage();
      hitsIn(matcher, { text, urls: [], ip: null });
      const { user, system } = process.cpuUsage(before);
      times.push((user + system) / 1000);
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor(RUNS * share)]!;
    return {
      block_list_ms: atMost(at(0.99), 1, "ms", `p99; half within ${at(0.5).toFixed(2)} ms; ${ENTRIES} entries`),
    };
  },
};
