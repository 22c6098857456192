import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { eagerImports } from "./local/eager-imports.ts";
import "./test/setup/provided.ts";

// wrangler asks for the secrets before the test database is there; the bindings below are what tests get.
process.env.APP_DATABASE_URL ??= "postgres://set-by-the-test-setup";
process.env.MASTER_SECRETS ??= "set-below";

const heavy = process.env.HEAVY === "1";
if (heavy && !process.env.DATABASE_URL) throw new Error("HEAVY=1 needs a real PostgreSQL: set DATABASE_URL.");

export default defineConfig({
  plugins: [
    eagerImports(),
    cloudflareTest(({ inject }) => ({
      wrangler: { configPath: "./wrangler.toml" },
      miniflare: {
        bindings: {
          APP_DATABASE_URL: inject("appDatabaseUrl"),
          DATABASE_ENDPOINT: `${inject("bridgeUrl")}/sql`,
          MASTER_SECRETS: `1:${Buffer.alloc(32, 7).toString("base64")}`,
          DEPLOYMENT_URL: "http://parley.test",
          LOCAL_MODE: "1",
          DOH_URL: `${inject("receiverUrl")}/dns-query`,
          RELEASE: inject("release"),
        },
      },
    })),
  ],
  test: {
    isolate: false,
    silent: "passed-only",
    setupFiles: ["./test/setup/quiet.ts", "./test/setup/once.ts"],
    globalSetup: ["./local/test-database.ts", "./local/test-receiver.ts", "./local/test-mail-server.ts"],
    include: heavy ? ["test/**/*.test.ts"] : ["test/*.test.ts"],
    // Two workers would take up each other's queued work, whose bytes and sockets only the other has.
    maxWorkers: 1,
    // A call that the local runtime loses on a busy machine hangs its test: tried once more where nobody looks.
    retry: process.env.CI ? 1 : 0,
    testTimeout: heavy ? 120_000 : 60_000,
    hookTimeout: 60_000,
  },
});
