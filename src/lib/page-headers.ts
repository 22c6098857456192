import type { MiddlewareHandler } from "hono";

/** Of pages opened by a signed link: they load nothing, stand in no frame, and neither caches nor other sites learn of them. */
export const pageHeaders: MiddlewareHandler = async (c, next) => {
  await next();
  c.res.headers.set(
    "Content-Security-Policy",
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  );
  c.res.headers.set("Referrer-Policy", "no-referrer");
  c.res.headers.set("Cache-Control", "no-store");
  c.res.headers.set("X-Content-Type-Options", "nosniff");
};
