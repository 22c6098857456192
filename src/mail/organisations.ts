/** Below these anybody gets a name: of two of them neither speaks for the other. */
const SHARED = new Set(
  [
    "github.io gitlab.io workers.dev pages.dev herokuapp.com web.app firebaseapp.com appspot.com run.app netlify.app",
    "vercel.app azurewebsites.net cloudapp.net onmicrosoft.com sharepoint.com fly.dev onrender.com railway.app deno.dev",
    "ngrok.io ngrok.app ngrok-free.app surge.sh glitch.me repl.co replit.app cloudfront.net elasticbeanstalk.com",
    "myshopify.com wixsite.com weebly.com wordpress.com blogspot.com tumblr.com bitbucket.io readthedocs.io webflow.io",
    "duckdns.org ddns.net no-ip.org dyndns.org hopto.org zapto.org sytes.net dynu.net freeddns.org mydns.jp",
    "eu.org us.com uk.com de.com co.com eu.com ru.com za.com br.com cn.com sa.com jpn.com gb.net uk.net se.net ae.org",
    "com.de com.se co.at or.at co.nl co.no pp.ua kiev.ua msk.ru spb.ru waw.pl altervista.org neocities.org is-a.dev",
  ].flatMap((line) => line.split(" ")),
);

/** What a registry or a host hands out: the last two labels, three below such as co.uk. */
export function organisation(domain: string): string {
  const labels = domain.replace(/\.$/, "").toLowerCase().split(".");
  const [tld, second] = [labels.at(-1)!, labels.at(-2) ?? ""];
  const isShared =
    SHARED.has(`${second}.${tld}`) ||
    (tld.length === 2 && /^(co|com|org|net|ac|gov|edu|or|ne|go|gob|gouv|nom|ltd|plc|me|sch|id|mil)$/.test(second));
  return labels.slice(isShared ? -3 : -2).join(".");
}
