import { spawnSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { ROOT } from "./place.ts";

/** drizzle-kit writes ON DELETE set null for the whole key, which would null tenant_id too: the column is named. */
const SET_NULL = /(FOREIGN KEY \("tenant_id","([a-z_]+)"\) [^;]*ON DELETE set null)( ON)/g;

const kit = spawnSync(
  process.execPath,
  [`${ROOT}/node_modules/drizzle-kit/bin.cjs`, "generate", ...process.argv.slice(2)],
  {
    cwd: ROOT,
    stdio: "inherit",
  },
);
for (const path of globSync(`${ROOT}/drizzle/*.sql`)) {
  const text = readFileSync(path, "utf8");
  const mended = text.replace(SET_NULL, '$1 ("$2")$3');
  if (mended !== text) writeFileSync(path, mended);
}
process.exit(kit.status ?? 1);
