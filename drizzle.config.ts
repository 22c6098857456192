import { defineConfig } from "drizzle-kit";

const url = process.env.DATABASE_URL;

/** The studio shows the database of DATABASE_URL, or the embedded one while `npm start` does not run it. */
export default defineConfig({
  dialect: "postgresql",
  schema: "./src/*/schema.ts",
  out: "./drizzle",
  ...(url ? { dbCredentials: { url } } : { driver: "pglite", dbCredentials: { url: "./.parley/database" } }),
});
