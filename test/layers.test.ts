/// <reference types="vite/types/importMeta.d.ts" />
import { expect, it } from "vitest";

/** Left may import right; what stands in one step may import each other, as long as no circle comes of it. */
const ORDER = [
  ["campaigns", "inbox", "sms", "email", "live"],
  ["push"],
  ["messages"],
  ["deliveries"],
  ["moderation"],
  ["channels"],
  ["contacts", "inboxes", "users", "teams", "exports", "suppressions"],
  ["files"],
  ["webhooks"],
  ["integrations", "jobs"],
  ["auth", "tenants", "operations"],
  ["events"],
  ["providers"],
  ["mail"],
  ["lib"],
];

/** What every request needs is evaluated at start-up, and nothing else. */
const AT_START = /^src\/(app|lib\/.+|auth\/(admit|snapshots)|jobs\/registry|deliveries\/replies)\.ts$/;

/** Where a request's shape is known. */
const HTTP = /^src\/(app\.ts|index\.ts|lib\/.+|[^/]+\/(routes\.ts|pages\.tsx))$/;
const HTTP_PACKAGE = /^(hono|@hono\/[^/]+)(\/|$)/;
const DATABASE = /^(drizzle-orm|@neondatabase\/serverless)(\/|$)|^src\/(lib\/(db|rows|columns)|[^/]+\/schema)\.ts$/;

type Sources = Record<string, string>;
type Import = { from: string; to: string; typeOnly: boolean; lazy: boolean };

const sources: Sources = Object.fromEntries(
  Object.entries(
    import.meta.glob<string>(["../src/**/*.{ts,tsx}", "../durable-objects/**/*.{ts,tsx}"], {
      query: "?raw",
      import: "default",
      eager: true,
    }),
  ).map(([path, text]) => [path.replace("../", ""), text]),
);

/** Relative ones as paths from the root, the others as they stand. */
function importsOf(from: string, files: Sources): Import[] {
  const statements = /\b(?:import|export)\s+(type\s)?(?:[\w*{}\s,$]+?\sfrom\s+)?"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/g;
  return [...files[from]!.matchAll(statements)].map(([, type, name, lazy]) => ({
    from,
    to: resolve(from, (name ?? lazy)!, files),
    typeOnly: type !== undefined,
    lazy: lazy !== undefined,
  }));
}

function resolve(from: string, name: string, files: Sources): string {
  if (!name.startsWith(".")) return name;
  const path = new URL(name, `file:///${from}`).pathname.slice(1);
  return [path, `${path}.ts`, `${path}.tsx`].find((file) => file in files) ?? path;
}

const featureOf = (file: string): string | undefined => /^src\/([^/]+)\//.exec(file)?.[1];
const step = (feature: string): number => ORDER.findIndex((names) => names.includes(feature));

/** Each rule says of one import why it may not be, or nothing. */
const RULES: Record<string, (found: Import) => boolean> = {
  // Routes are mounted and imported by nobody, so that they may call any service.
  "a feature imports what stands right of it": ({ from, to }) => {
    const [own, theirs] = [featureOf(from), featureOf(to)];
    if (/\/(routes\.ts|pages\.tsx)$/.test(from)) return true;
    if (!own || !theirs || own === theirs || to === `src/${theirs}/schema.ts`) return true;
    return step(own) <= step(theirs);
  },
  "lib knows no feature": ({ from, to }) =>
    featureOf(from) !== "lib" || !/^(src\/(?!lib\/)|durable-objects\/)/.test(to),
  "Hono stays at the edge": ({ from, to }) => !HTTP_PACKAGE.test(to) || HTTP.test(from),
  "routes are mounted by app.ts alone": ({ from, to }) => !/^src\/[^/]+\/routes\.ts$/.test(to) || from === "src/app.ts",
  "app.ts is served by index.ts alone": ({ from, to }) => to !== "src/app.ts" || from === "src/index.ts",
  "features are evaluated when they are asked for": ({ from, to, typeOnly, lazy }) =>
    typeOnly ||
    lazy ||
    !/^src\/(app|index)\.ts$/.test(from) ||
    !/^(src|durable-objects)\//.test(to) ||
    AT_START.test(to),
  "objects are exported by index.ts and reached through lib/objects.ts": ({ from, to }) =>
    !to.startsWith("durable-objects/") || from === "src/index.ts" || from.startsWith("durable-objects/"),
  "providers touch no database": ({ from, to }) => featureOf(from) !== "providers" || !DATABASE.test(to),
  "the driver is lib/db.ts's and lib/neon.ts's": ({ from, to }) =>
    !/^(@neondatabase\/serverless|drizzle-orm\/neon-http)/.test(to) || /^src\/lib\/(db|neon)\.ts$/.test(from),
};

function breaches(files: Sources): string[] {
  const strangers = Object.keys(files)
    .map(featureOf)
    .filter((feature) => feature !== undefined && step(feature) < 0);
  const imports = Object.keys(files).flatMap((file) => importsOf(file, files));
  return [
    ...[...new Set(strangers)].map((feature) => `src/${feature} has no place in the order`),
    ...Object.entries(RULES).flatMap(([rule, holds]) =>
      imports.filter((found) => !holds(found)).map(({ from, to }) => `${rule}: ${from} imports ${to}`),
    ),
    ...circles(imports).map((circle) => `no circles: ${circle.join(" → ")}`),
  ];
}

function circles(imports: Import[]): string[][] {
  const next = Map.groupBy(
    imports.filter(({ typeOnly }) => !typeOnly),
    ({ from }) => from,
  );
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, way: string[]): void => {
    const at = way.indexOf(file);
    if (at >= 0) found.push([...way.slice(at), file]);
    if (at >= 0 || done.has(file)) return;
    for (const { to } of next.get(file) ?? []) visit(to, [...way, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return found;
}

it("every import follows the order of the layers", () => {
  expect(Object.keys(sources)).toContain("src/lib/db.ts");
  expect(breaches(sources)).toEqual([]);
});

it.each([
  ["a feature imports what stands right of it", "src/events/service.ts", `import { x } from "../users/service";`],
  ["lib knows no feature", "src/lib/x.ts", `import type { x } from "../users/schema";`],
  ["Hono stays at the edge", "src/users/service.ts", `import { Hono } from "hono/tiny";`],
  ["routes are mounted by app.ts alone", "src/users/service.ts", `import { userRoutes } from "./routes";`],
  ["app.ts is served by index.ts alone", "src/users/service.ts", `import { app } from "../app";`],
  [
    "features are evaluated when they are asked for",
    "src/index.ts",
    `import { x } from "./users/service";\nconst load = () => import("./users/routes");`,
  ],
  [
    "objects are exported by index.ts and reached through lib/objects.ts",
    "src/users/service.ts",
    `const { x } = await import("../../durable-objects/limiter");`,
  ],
  ["providers touch no database", "src/providers/mail.ts", `import {\n  db,\n} from "../lib/db";`],
  [
    "the driver is lib/db.ts's and lib/neon.ts's",
    "src/users/service.ts",
    `import { neon } from "@neondatabase/serverless";`,
  ],
  ["no circles", "src/users/service.ts", `import { x } from "../users/service";`],
  ["src/misc has no place in the order", "src/misc/service.ts", ""],
])("a breach is found: %s", (rule, file, text) => {
  const known = Object.fromEntries(
    ["src/app.ts", "src/lib/db.ts", "src/users/routes.ts", "src/users/schema.ts", "src/users/service.ts"]
      .concat("durable-objects/limiter.ts")
      .map((path) => [path, ""]),
  );
  expect(breaches(known)).toEqual([]);

  const found = breaches({ ...known, [file]: text });

  expect(found.filter((breach) => breach.startsWith(rule))).toHaveLength(1);
});
