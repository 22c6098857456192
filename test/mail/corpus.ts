/// <reference types="vite/types/importMeta.d.ts" />
import type { dryRun } from "../../src/mail/dry-run";
import expected from "./corpus/expected.json";

type Answer = Awaited<ReturnType<typeof dryRun>>;

/** What is expected of a mail: as much of the dry run's answer as its file is about. */
export type Expected = { [Key in keyof Answer]?: unknown };

const files = import.meta.glob<string>("./corpus/*.eml", { query: "?url&inline", import: "default", eager: true });

const bytesOf = (dataUrl: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(dataUrl.slice(dataUrl.indexOf(",") + 1)), (char) => char.charCodeAt(0));

/** Mails in the manner of real ones. */
export const corpus: { name: string; raw: Uint8Array<ArrayBuffer>; expected: Expected }[] = Object.entries(files).map(
  ([path, dataUrl]) => {
    const name = path.replace("./corpus/", "").replace(".eml", "");
    return { name, raw: bytesOf(dataUrl), expected: (expected as Record<string, Expected>)[name]! };
  },
);
