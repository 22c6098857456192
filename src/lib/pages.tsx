import { Hono, type MiddlewareHandler } from "hono";
import { ApiError, ERRORS } from "./errors";
import type { AppEnv } from "./route";

/** They load nothing, stand in no frame, and neither caches nor other sites learn of them. */
const pageHeaders: MiddlewareHandler = async (c, next) => {
  await next();
  c.res.headers.set(
    "Content-Security-Policy",
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  );
  c.res.headers.set("Referrer-Policy", "no-referrer");
  c.res.headers.set("Cache-Control", "no-store");
  c.res.headers.set("X-Content-Type-Options", "nosniff");
};

/** Pages opened by a signed link, which work without scripts; what goes wrong is a page too. */
export function signedPages(path: string): Hono<AppEnv> {
  const pages = new Hono<AppEnv>();
  pages.use(path, pageHeaders);
  pages.onError((thrown, c) => {
    const error = thrown instanceof ApiError ? thrown : new ApiError("internal");
    const [status, title] = ERRORS[error.code];
    return c.html(
      <Page title={title}>
        <h1>{title}</h1>
        <p>{error.message}</p>
      </Page>,
      status,
    );
  });
  return pages;
}

/** Without quotation marks, which JSX would escape. */
const STYLE = `
:root{color-scheme:light dark;--line:light-dark(#d0d5dd,#3a4150);--soft:light-dark(#f5f6f8,#1c2028);--link:light-dark(#1249b0,#8ab4ff)}
*{box-sizing:border-box}body{margin:0 auto;max-width:64rem;padding:1rem;font:1rem/1.5 system-ui,sans-serif;background:light-dark(#fff,#12151b);color:light-dark(#1a1d24,#e8eaef)}
a{color:var(--link)}h1{font-size:1.4rem;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.1rem}h3{font-size:1rem}
table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.5rem;border-bottom:1px solid var(--line);vertical-align:top}
form{display:flex;gap:.75rem;flex-wrap:wrap;align-items:end;margin:1rem 0}label{display:grid;gap:.25rem;font-size:.9rem}
select,input,button{font:inherit;color:inherit;padding:.4rem .6rem;border:1px solid var(--line);border-radius:.4rem;background:var(--soft);min-height:2.5rem}
button{cursor:pointer}.code{background:var(--soft);padding:.75rem;border-radius:.4rem;overflow:auto;max-height:24rem;margin:1rem 0}pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
.status{font-weight:600}.status::before{content:attr(data-none);display:inline-block;width:.6em;height:.6em;margin-right:.35em;border-radius:50%;background:currentcolor}.delivered,.active{color:light-dark(#0b6b32,#5fd48b)}.pending{color:light-dark(#805300,#f0c05a)}
.exhausted,.cancelled,.disabled,.warning,.failed{color:light-dark(#a51c1c,#ff9b9b)}dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:40rem){thead{position:absolute;clip-path:inset(50%);height:1px;overflow:hidden}tr{display:block;border-bottom:1px solid var(--line);padding:.5rem 0}td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.2rem 0;overflow-wrap:anywhere}td::before{content:attr(data-label);font-weight:600}}
fieldset{border:1px solid var(--line);border-radius:.4rem;margin:0 0 1rem;padding:.5rem .75rem}.choice{display:flex;align-items:center;gap:.5rem;padding:.3rem 0;font-size:1rem;overflow-wrap:anywhere}
.choice input{min-height:0;width:1.25rem;height:1.25rem;flex:none}.wide{flex-direction:column;align-items:stretch}.wide button{align-self:start}.note{border-left:4px solid var(--link);padding:.25rem .75rem;background:var(--soft);overflow-wrap:anywhere}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}`;

export const Page = ({ title, children }: { title: string; children?: unknown }) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="robots" content="noindex" />
      <title>{title}</title>
      <style>{STYLE}</style>
    </head>
    <body>
      <main>{children}</main>
    </body>
  </html>
);
