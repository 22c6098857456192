import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../public/docs", import.meta.url));

// The viewer takes its maker's logo from the maker's server. The page may ask no other origin: the name stands instead.
const LOGO = /https:\/\/cdn\.redoc\.ly\/redoc\/logo-mini(?:-full)?\.svg/g;
const NAME = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="14"><text y="11" font-family="sans-serif" font-size="11" fill="#2456d6">Redoc</text></svg>',
)}`;

/** Puts the reference viewer, which comes with the linter, beside its page. */
export function buildDocs(): void {
  const tools = dirname(createRequire(import.meta.url).resolve("@redocly/cli/package.json"));
  const viewer = readFileSync(`${tools}/lib/chunks/redoc.standalone.js`, "utf8");
  const script = viewer.replace(LOGO, NAME);
  if (script === viewer) throw new Error("The reference viewer has changed: its logo is no longer where it was.");
  const target = `${FOLDER}/redoc.js`;
  if (!existsSync(target) || readFileSync(target, "utf8") !== script) writeFileSync(target, script);
  copyFileSync(`${tools}/THIRD_PARTY_NOTICES`, `${FOLDER}/redoc-notices.txt`);
}

if (import.meta.main) buildDocs();
