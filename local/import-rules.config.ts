import { defineConfig } from "vitest/config";

/** The rules are read from the sources, so that neither a Worker nor a database is needed. */
export default defineConfig({ test: { include: ["test/layers.test.ts"] } });
